local mark = redis.call('GET', KEYS[1])
if (mark or '') ~= ARGV[1] then return redis.error_reply('FENCED another mark stands there') end
redis.call('SET', KEYS[1], ARGV[2])
return 1
