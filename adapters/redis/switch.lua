for i = 2, #KEYS do
	if redis.call('GET', KEYS[i]) ~= ARGV[2] then return redis.error_reply('FENCED the build was lost') end
end
for i = 2, #KEYS do redis.call('SET', KEYS[i], ARGV[3]) end
redis.call('SET', KEYS[1], ARGV[1])
return 1
