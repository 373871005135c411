if ARGV[1] ~= '*' and (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
	return redis.error_reply('FENCED another build is in use')
end
local mark = redis.call('GET', KEYS[2])
if mark ~= ARGV[2] then return redis.error_reply('FENCED another mark stands there') end
local own = ARGV[3]
for i = 3, #KEYS do
	local key, at = KEYS[i], 3 * i - 5
	local s, o, d = ARGV[at], ARGV[at + 1], ARGV[at + 2]
	local have = redis.call('HGET', key, 's')
	if have and string.sub(have, 17, 16 + #own) ~= own then
		redis.call('DEL', key)
		have = false
	end
	if not have or string.sub(have, 1, 16) < string.sub(s, 1, 16) then
		if o == '' then
			redis.call('HSET', key, 's', s)
		else
			redis.call('HSET', key, 's', s, 'o', o)
		end
		if d == '-' then redis.call('HDEL', key, 'd') end
		if d ~= '-' and d ~= '' then redis.call('HSET', key, 'd', d) end
	end
end
return 1
