-- ARGV: receipt, delay, reason or '', most attempts (0: any number), 1 to bury at once, how long
-- identities are remembered, the queue's key, the dead letters' key.
-- Gives {what, identity}: 0 unknown, 1 released, 2 buried.
local receipt, delay, reason, attempts_allowed = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local at_once, remember, key, dead_key = ARGV[5] == '1', tonumber(ARGV[6]), ARGV[7], ARGV[8]
local entry = entry_of(receipt)
if not entry then
  return { 0, '' }
end
local message = read(entry)
if not message or not message.id or not message.body then
  remove(entry, message, 0)
  return { 0, '' }
end
local attempts = tonumber(redis.call('HGET', deliveries, entry .. ':n') or '0')
if attempts_allowed > 0 and (at_once or attempts >= attempts_allowed) then
  bury(entry, message, reason, remember, dead_key)
  return { 2, message.id }
end
redis.call('HDEL', deliveries, entry .. ':r')
if reason ~= '' then
  redis.call('HSET', deliveries, entry .. ':w', reason)
end
redis.call('ZADD', leases, digits(now + delay), entry)
redis.call('PUBLISH', channel, key)
return { 1, message.id }
