if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
	return redis.error_reply('FENCED another build is in use')
end
local mark = redis.call('GET', KEYS[2])
if (mark or '') ~= ARGV[2] then return redis.error_reply('FENCED another mark stands there') end
redis.call('SET', KEYS[2], ARGV[3])
return 1
