-- What wrk sends, to the bank and to the yardstick alike. Arguments: kind, seed, file. The file has the token in
-- its first line, and then an account a line. No response() is defined: it would make wrk build a table of
-- headers for each reply, which costs more than a reply; wrk counts statuses from 400 by itself, and the servers on
-- both sides count what they answered.

local threads = 0
function setup(thread)
    thread:set("number", threads)
    threads = threads + 1
end

local kind, accounts, count, head, middle, reading
local random, hex = math.random, {}

function init(args)
    kind = args[1]
    math.randomseed(tonumber(args[2]) + number * 7919)
    for i = 0, 65535 do hex[i] = string.format("%04x", i) end
    accounts, count = {}, 0
    local file = assert(io.open(args[3]))
    local token = file:read("*l")
    for line in file:lines() do
        count = count + 1
        accounts[count] = line
    end
    file:close()
    local common = "Host: " .. wrk.host .. ":" .. wrk.port .. "\r\nAuthorization: Bearer " .. token .. "\r\n"
    reading = " HTTP/1.1\r\n" .. common .. "\r\n"
    head = "POST /v1/transfers HTTP/1.1\r\n" .. common ..
        "Content-Type: application/json\r\nIdempotency-Key: "
end

-- A random UUID of version 4.
local function uuid()
    return hex[random(0, 65535)] .. hex[random(0, 65535)] .. "-" .. hex[random(0, 65535)] ..
        "-" .. hex[0x4000 + random(0, 4095)] .. "-" .. hex[0x8000 + random(0, 16383)] ..
        "-" .. hex[random(0, 65535)] .. hex[random(0, 65535)] .. hex[random(0, 65535)]
end

function request()
    if kind == "reads" then
        return "GET /v1/accounts/" .. accounts[random(count)] .. reading
    end
    local a = kind == "hot" and 1 or random(count)
    local b = random(count - 1)
    if b >= a then b = b + 1 end
    if kind == "hot" and random(2) == 1 then a, b = b, a end
    local body = '{"from_account_id":"' .. accounts[a] .. '","to_account_id":"' .. accounts[b] ..
        '","amount":{"amount":"1","currency":"EUR"}}'
    return head .. uuid() .. "\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
end

function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format('BENCH {"requests":%d,"micros":%d,"p50":%.3f,"p95":%.3f,"p99":%.3f,"max":%.3f,' ..
        '"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\n',
        summary.requests, summary.duration, latency:percentile(50) / 1000, latency:percentile(95) / 1000,
        latency:percentile(99) / 1000, latency.max / 1000, e.connect, e.read, e.write, e.status, e.timeout))
end
