local mark = redis.call('GET', KEYS[1])
if mark ~= ARGV[1] then return redis.error_reply('FENCED another mark stands there') end
local own = ARGV[2]
for i = 2, #KEYS do
	local key, at = KEYS[i], 3 * i - 3
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
