local build = redis.call('GET', KEYS[1]) or ''
local base = ARGV[1] .. (build ~= '' and 'build-' .. build .. ':' or '')
return {build, redis.call('GET', base .. ARGV[2]) or ''}
