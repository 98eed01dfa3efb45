-- Posts the lines of the file named by the first argument, one after the other, and reports as one line of JSON.
-- The requests are built before the run, so that the load costs next to nothing while it is measured.

local requests = {}
local position = 0

function init(arguments)
  local headers = { ["Content-Type"] = "application/json" }
  for body in io.lines(arguments[1]) do
    requests[#requests + 1] = wrk.format("POST", nil, headers, body)
  end
end

function request()
  position = position % #requests + 1
  return requests[position]
end

function done(summary, latency, _)
  local failed = summary.errors
  io.write(string.format(
    '{"per_second": %.3f, "mean_ms": %.4f, "p50_ms": %.4f, "p99_ms": %.4f, "errors": %d}\n',
    (summary.requests - failed.status) / (summary.duration / 1e6), latency.mean / 1e3,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    failed.status + failed.connect + failed.read + failed.write + failed.timeout))
end
