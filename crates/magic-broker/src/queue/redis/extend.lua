-- ARGV: receipt, time, the queue's key. Gives 1 if the lease was changed.
local entry = entry_of(ARGV[1])
if not entry then
  return 0
end
redis.call('ZADD', leases, digits(now + tonumber(ARGV[2])), entry)
redis.call('PUBLISH', channel, ARGV[3])
return 1
