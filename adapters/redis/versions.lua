local mark = redis.call('GET', KEYS[1])
if mark ~= ARGV[1] then return redis.error_reply('FENCED another mark stands there') end
local own, out = ARGV[2], {}
for i = 2, #KEYS do
	local s = redis.call('HGET', KEYS[i], 's')
	out[i - 1] = s and string.sub(s, 17, 16 + #own) == own and string.sub(s, 1, 16)
end
return out
