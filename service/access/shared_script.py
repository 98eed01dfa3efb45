"""The script by which gateways count together: Redis runs it in one piece, so that none of them overtakes another.

KEYS: the gateways that were heard of within 120 s, a sorted set; then for each window what was used, a hash, and what
the asking gateway had told of it, a string. All but the first expire with the window.
ARGV: the gateway; how many requests it asks to admit; all that it ever counted of each measure; then for each window
its seconds, three limits (0: none), what is not told yet, for where nobody remembers the gateway, and the number of its
bucket with what was known of it, before and current of each measure, for where Redis has lost it: of several that
knew of the same bucket, the one that knew most counts.
Returns how many of the requests are admitted, how many gateways there are, and for each window the number of the
bucket, the seconds since it began, and before and current of each measure.

What a gateway tells is all that it ever counted, not what is new: a telling that was lost, or came twice, is set right
by the next one.
"""

NUMBERS = 8
"""That come back of each window."""

TEXT = rb"""
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local gateway, asked = ARGV[1], tonumber(ARGV[2])
redis.call('ZADD', KEYS[1], now, gateway)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 120)
redis.call('EXPIRE', KEYS[1], 240)
local function number(at) return tonumber(ARGV[at]) end
local function text(value) return string.format('%.17g', value) end
local function shifted(before, current, buckets)
  if buckets == 1 then return current, 0 elseif buckets > 1 then return 0, 0 end
  return before, current
end

local windows, admitted = {}, asked
for i = 1, (#KEYS - 1) / 2 do
  local at = 5 + (i - 1) * 14
  local seconds = number(at + 1)
  local w = {key = KEYS[2 * i], told = KEYS[2 * i + 1], seconds = seconds, number = math.floor(now / seconds)}
  w.elapsed = now - w.number * seconds
  local stored = redis.call('HMGET', w.key, 'n', '1', '2', '3', '4', '5', '6')
  local last, told = tonumber(stored[1]), redis.call('GET', w.told)
  local before = {}
  if told then for value in string.gmatch(told, '%S+') do before[#before + 1] = tonumber(value) end end
  for m = 1, 3 do
    local b, c = 0, 0
    if last then b, c = shifted(tonumber(stored[2 * m]), tonumber(stored[2 * m + 1]), w.number - last) end
    if not (last and told) then
      local kb, kc = shifted(number(at + 7 + 2 * m), number(at + 8 + 2 * m), w.number - number(at + 8))
      b, c = math.max(b, kb), math.max(c, kc)
    end
    c = math.max(0, c + (told and number(2 + m) - before[m] or number(at + 4 + m)))
    local limit, used = number(at + 1 + m), b * (1 - w.elapsed / seconds) + c
    if limit > 0 and m == 1 then admitted = math.max(0, math.min(admitted, math.floor(limit - used))) end
    if limit > 0 and m > 1 and used >= limit then admitted = 0 end
    w[2 * m - 1], w[2 * m] = b, c
  end
  windows[i] = w
end

local reply = {admitted, redis.call('ZCARD', KEYS[1])}
for _, w in ipairs(windows) do
  w[2] = w[2] + admitted
  local lives = math.ceil(w.seconds * 2) + 1
  redis.call('HSET', w.key, 'n', w.number, '1', text(w[1]), '2', text(w[2]), '3', text(w[3]), '4', text(w[4]),
             '5', text(w[5]), '6', text(w[6]))
  redis.call('EXPIRE', w.key, lives)
  redis.call('SET', w.told, text(number(3) + admitted) .. ' ' .. ARGV[4] .. ' ' .. ARGV[5], 'EX', lives)
  reply[#reply + 1] = w.number
  reply[#reply + 1] = text(w.elapsed)
  for j = 1, 6 do reply[#reply + 1] = text(w[j]) end
end
return reply
"""
