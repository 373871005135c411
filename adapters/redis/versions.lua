if ARGV[1] ~= '*' and (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
	return redis.error_reply('FENCED another build is in use')
end
local mark = redis.call('GET', KEYS[2])
if mark ~= ARGV[2] then return redis.error_reply('FENCED another mark stands there') end
local own, out = ARGV[3], {}
for i = 3, #KEYS do
	local s = redis.call('HGET', KEYS[i], 's')
	out[i - 2] = s and string.sub(s, 17, 16 + #own) == own and string.sub(s, 1, 16)
end
return out
