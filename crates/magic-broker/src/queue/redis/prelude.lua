-- What every script of a queue begins with. A script runs as a whole, so between these lines and the
-- last one nobody else sees or changes anything.
--
-- stream      the messages, with a consumer group that knows who was given which
-- leases      entry -> the moment until which it is hidden (sorted set)
-- deliveries  entry:n -> how often delivered, entry:r -> the current receipt, entry:w -> the last reason
-- ids         identity -> entry, for what is in the stream
-- gone        identity -> the moment at which it may be forgotten (sorted set)
-- backlog     messages and bytes of the owner, over all its queues
local stream, leases, deliveries, ids, gone, backlog = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local dead_stream, dead_ids = KEYS[7], KEYS[8]
local group, channel = 'magic', 'magic:queue:ready'

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- Lua writes large numbers with an exponent; Redis wants digits.
local function digits(number)
  return string.format('%.0f', number)
end

local function fields(list)
  local message = {}
  for i = 1, #list, 2 do
    message[list[i]] = list[i + 1]
  end
  return message
end

local function read(entry)
  local found = redis.call('XRANGE', stream, entry, entry)
  if #found == 0 then
    return nil
  end
  return fields(found[1][2])
end

-- The entry that a receipt stands for, if it stands for the current delivery of one in this queue.
local function entry_of(receipt)
  local entry = string.match(receipt, '^(%d+%-%d+)%.')
  if entry and redis.call('HGET', deliveries, entry .. ':r') == receipt then
    return entry
  end
  return nil
end

-- Takes an entry out of the queue and remembers its identity for a while. A stream that has become
-- empty goes too, since anybody can think of new names of queues.
local function remove(entry, message, remember)
  redis.call('XACK', stream, group, entry)
  redis.call('XDEL', stream, entry)
  redis.call('ZREM', leases, entry)
  redis.call('HDEL', deliveries, entry .. ':n', entry .. ':r', entry .. ':w')
  if message and message.id then
    redis.call('HDEL', ids, message.id)
    if remember > 0 then
      redis.call('ZADD', gone, digits(now + remember), message.id)
      redis.call('PEXPIRE', gone, digits(remember))
    end
  end
  if redis.call('XLEN', stream) == 0 then
    redis.call('DEL', stream)
  end
end

local function discharge(message)
  redis.call('HINCRBY', backlog, 'bytes', -#(message.body or ''))
  if redis.call('HINCRBY', backlog, 'messages', -1) <= 0 then
    redis.call('DEL', backlog)
  end
end

-- Moves an entry to the dead letters, which belong to the same owner: the backlog stays as it is.
local function bury(entry, message, reason, remember, dead_key)
  local attempts = redis.call('HGET', deliveries, entry .. ':n') or '0'
  if reason == '' then
    reason = redis.call('HGET', deliveries, entry .. ':w') or 'attempts'
  end
  local before = redis.call('HGET', dead_ids, message.id)
  if before then
    discharge(message)
  else
    local placed = redis.call('XADD', dead_stream, '*', 'id', message.id, 'body', message.body,
      'at', message.at, 'reason', reason, 'attempts', attempts)
    redis.call('HSET', dead_ids, message.id, placed)
  end
  remove(entry, message, remember)
  redis.call('PUBLISH', channel, dead_key)
end
