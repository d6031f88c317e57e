-- ARGV: longest lease. Gives the milliseconds until there may be something to receive, -1 for nothing.
-- Everything that was delivered has a lease, so more messages than leases means new ones.
if redis.call('XLEN', stream) > redis.call('ZCARD', leases) then
  return 0
end
local first = redis.call('ZRANGE', leases, 0, 0, 'WITHSCORES')
if #first == 0 then
  return -1
end
local last = redis.call('ZRANGE', leases, -1, -1, 'WITHSCORES')
if tonumber(last[2]) > now + tonumber(ARGV[1]) then
  return 0
end
return math.max(0, tonumber(first[2]) - now)
