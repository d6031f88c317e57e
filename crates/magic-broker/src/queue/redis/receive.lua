-- ARGV: most messages, enough bytes, lease, most attempts (0: any number), nonce, consumer, longest
-- lease, how long identities are remembered, the dead letters' key.
-- Gives {{id, receipt, body, attempt, published, reason, attempts before}, ...} and the identities buried.
local most, enough, lease = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local attempts_allowed, nonce, consumer = tonumber(ARGV[4]), ARGV[5], ARGV[6]
local longest, remember, dead_key = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9]
local given, buried, bytes = {}, {}, 0

local function give(entry, message)
  local receipt = entry .. '.' .. nonce
  local attempt = redis.call('HINCRBY', deliveries, entry .. ':n', 1)
  redis.call('HSET', deliveries, entry .. ':r', receipt)
  redis.call('ZADD', leases, digits(now + lease), entry)
  bytes = bytes + #message.body
  given[#given + 1] = { message.id, receipt, message.body, attempt, message.at or '0',
    message.reason or '', message.attempts or '0' }
end

if redis.call('EXISTS', stream) == 0 then
  return { given, buried }
end

-- Deliveries whose lease is over, and those whose lease reaches further than any can, which means
-- that the server's clock was set back.
local function overdue(count)
  local entries = redis.call('ZRANGEBYSCORE', leases, '-inf', digits(now), 'LIMIT', 0, count)
  if #entries == 0 then
    entries = redis.call('ZRANGEBYSCORE', leases, '(' .. digits(now + longest), '+inf', 'LIMIT', 0, count)
  end
  return entries
end

for _ = 1, 10 do
  local entries = {}
  if #given < most and bytes < enough then
    entries = overdue(most - #given)
  end
  if #entries == 0 then
    break
  end
  for _, entry in ipairs(entries) do
    local message = read(entry)
    local attempts = tonumber(redis.call('HGET', deliveries, entry .. ':n') or '0')
    if not message or not message.id or not message.body then
      remove(entry, message, 0)
    elseif attempts_allowed > 0 and attempts >= attempts_allowed then
      bury(entry, message, '', remember, dead_key)
      buried[#buried + 1] = message.id
    elseif bytes < enough then
      redis.call('XCLAIM', stream, group, consumer, 0, entry, 'JUSTID')
      give(entry, message)
    end
  end
end

-- All that there was may have been buried.
if redis.call('EXISTS', stream) == 0 then
  return { given, buried }
end
-- Whether the group is there already is cheaper to try than to ask.
redis.pcall('XGROUP', 'CREATE', stream, group, '0')
while #given < most and bytes < enough do
  local reply = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', 1, 'STREAMS', stream, '>')
  if not reply then
    break
  end
  local entry, message = reply[1][2][1][1], fields(reply[1][2][1][2])
  if message.id and message.body then
    give(entry, message)
  else
    remove(entry, message, 0)
    if redis.call('EXISTS', stream) == 0 then
      break
    end
  end
end
return { given, buried }
