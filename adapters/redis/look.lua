local build = redis.call('GET', KEYS[1])
local base = ARGV[1] .. (build and 'build-' .. build .. ':' or '')
local a = redis.call('HMGET', base .. ARGV[2], 's', 'o', 'd')
local s = a[1]
if not s then return false end
local mark = redis.call('GET', base .. ARGV[3] .. string.sub(s, 17, 20))
if not mark or string.sub(mark, 1, 16) < string.sub(mark, 17, 32) then return 0 end
if string.sub(mark, 33) ~= string.sub(s, 23, 22 + tonumber(string.sub(s, 21, 22), 16)) then return 0 end
return a
