if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
	return redis.error_reply('FENCED another build is in use')
end
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return redis.error_reply('FENCED another mark stands there') end
local own, s, o, d, strange = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local have = redis.pcall('HGET', KEYS[3], 's')
if type(have) == 'string' and string.sub(have, 17, 16 + #own) == own then
	local version = string.sub(have, 1, 16)
	if version > string.sub(s, 1, 16) and version ~= strange then return version end
end
redis.call('DEL', KEYS[3])
if o ~= '' then redis.call('HSET', KEYS[3], 's', s, 'o', o) end
if o ~= '' and d ~= '' and d ~= '-' then redis.call('HSET', KEYS[3], 'd', d) end
return ''
