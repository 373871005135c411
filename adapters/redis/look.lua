local a = redis.call('HMGET', KEYS[1], 's', 'o', 'd')
local s = a[1]
if not s then return false end
local mark = redis.call('GET', ARGV[1] .. string.sub(s, 17, 20))
if not mark or string.sub(mark, 1, 16) < string.sub(mark, 17, 32) then return 0 end
if string.sub(mark, 33) ~= string.sub(s, 23, 22 + tonumber(string.sub(s, 21, 22), 16)) then return 0 end
return a
