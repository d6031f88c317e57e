-- ARGV: identity, body, most messages, most bytes, the queue's key.
-- Gives {what, messages, bytes}: 0 duplicate, 1 added, 2 full.
local id, body, most_messages, most_bytes, key = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]

-- A hundred at a time, so that no publisher pays for a long pause.
local old = redis.call('ZRANGEBYSCORE', gone, '-inf', digits(now), 'LIMIT', 0, 100)
if #old > 0 then
  redis.call('ZREM', gone, unpack(old))
end
local remembered = redis.call('ZSCORE', gone, id)
if redis.call('HEXISTS', ids, id) == 1 or (remembered and tonumber(remembered) > now) then
  return { 0, 0, 0 }
end
local messages = tonumber(redis.call('HGET', backlog, 'messages') or '0')
local bytes = tonumber(redis.call('HGET', backlog, 'bytes') or '0')
if messages >= most_messages or bytes + #body > most_bytes then
  return { 2, messages, bytes }
end
local entry = redis.call('XADD', stream, '*', 'id', id, 'body', body, 'at', digits(now))
redis.call('HSET', ids, id, entry)
redis.call('HINCRBY', backlog, 'messages', 1)
redis.call('HINCRBY', backlog, 'bytes', #body)
redis.call('PUBLISH', channel, key)
return { 1, messages + 1, bytes + #body }
