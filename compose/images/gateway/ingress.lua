-- What HAProxy's own directives cannot count: retries against a budget, failures against a breaker, and how many
-- endpoints may be ejected at once. Loaded only where an Ingress asks for one of these. One thread, so one truth; after
-- a reload the counts begin anew.

local WINDOW_S = 10     -- retries and failures of this long count
local FLOOR_RETRIES = 3 -- so many a window are always allowed: a quiet Service may be retried too
local FLOOR_ANSWERS = 20 -- a breaker does not judge fewer answers than these
local LOOK_MS = 100

local pools = {}

local function pool_of(name)
  name = name:gsub(":once$", "")
  local pool = pools[name]
  if pool == nil then
    pool = {seconds = {}, open_until = 0, percent = 0}
    pools[name] = pool
  end
  return pool
end

local function now_s()
  local now = core.now()
  return now.sec + now.usec / 1e6
end

local function counts(pool, now)
  local total = {answers = 0, failures = 0, retries = 0}
  for second, found in pairs(pool.seconds) do
    if second <= now - WINDOW_S then
      pool.seconds[second] = nil
    else
      for key in pairs(total) do total[key] = total[key] + found[key] end
    end
  end
  return total
end

-- After every answer, one that HAProxy itself gave for want of a server's too.
core.register_fetches("seen", function(txn, percent)
  if txn:get_var("txn.open") then return 0 end
  local pool, second = pool_of(txn.f:be_name()), math.floor(now_s())
  pool.percent = tonumber(percent)
  local found = pool.seconds[second]
  if found == nil then
    found = {answers = 0, failures = 0, retries = 0}
    pool.seconds[second] = found
  end
  found.answers = found.answers + 1
  if txn.sf:status() ~= "" and tonumber(txn.sf:status()) >= 500 then found.failures = found.failures + 1 end
  found.retries = found.retries + (tonumber((tostring(txn:get_var("txn.tries") or "0"):gsub("+", ""))) or 0)
  return 1
end)

core.register_fetches("spent", function(txn, name)
  local pool = pool_of(name)
  local total = counts(pool, now_s())
  return total.retries >= math.max(FLOOR_RETRIES, total.answers * pool.percent / 100)
end)

core.register_fetches("is_open", function(txn, percent, open_ms)
  local pool, now = pool_of(txn.f:be_name()), now_s()
  if now < pool.open_until then return true end
  local total = counts(pool, now)
  if total.answers >= FLOOR_ANSWERS and total.failures * 100 >= tonumber(percent) * total.answers then
    pool.open_until = now + tonumber(open_ms) / 1000
    pool.seconds = {}
    return true
  end
  return false
end)

-- HAProxy marks an endpoint down at its n-th failure in a row (observe, on-error mark-down). Here it comes back when
-- its time is over, and at once where more are down than may be.

local ejections = {} -- by backend: {cap, ms, up, since = {server: when}}

local function look(name)
  local state, now = ejections[name], now_s()
  local size, down = 0, {}
  for key, server in pairs(core.backends[name].servers) do
    local status = server:get_stats()["status"]
    if status:sub(1, 5) ~= "MAINT" then
      size = size + 1
      if status:sub(1, 4) == "DOWN" then
        state.since[key] = state.since[key] or now
        if now - state.since[key] >= state.ms / 1000 then
          server:check_force_up()
          state.since[key] = nil
        else
          table.insert(down, key)
        end
      else
        state.since[key] = nil
      end
    end
  end
  local allowed = size < 2 and 0 or math.max(1, math.floor(size * state.cap / 100))
  table.sort(down, function(a, b) return state.since[a] < state.since[b] end)
  for index = allowed + 1, #down do
    core.backends[name].servers[down[index]]:check_force_up()
    state.since[down[index]] = nil
  end
end

-- Before every request of such a backend: whatever has happened since, no request meets more ejected than the cap.
core.register_fetches("hold_cap", function(txn, cap, ms)
  local name = txn.f:be_name()
  local state = ejections[name]
  if state == nil then
    state = {since = {}}
    ejections[name] = state
  end
  state.cap, state.ms = tonumber(cap), tonumber(ms)
  local up = txn.f:nbsrv(name)
  if up ~= state.up then
    look(name)
    state.up = txn.f:nbsrv(name)
  end
  return 1
end)

core.register_task(function()
  while true do
    core.msleep(LOOK_MS)
    for name in pairs(ejections) do look(name) end
  end
end)
