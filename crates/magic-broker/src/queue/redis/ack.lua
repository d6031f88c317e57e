-- ARGV: receipt, how long identities are remembered. Gives 1 if the message has gone by this.
local entry = entry_of(ARGV[1])
if not entry then
  return 0
end
local message = read(entry)
if message then
  discharge(message)
end
remove(entry, message, tonumber(ARGV[2]))
return 1
