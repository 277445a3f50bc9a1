-- Asks for tiles of the first result in a shuffled order, each once; for benchmarks/view_load.py.
-- Arguments: the largest zoom, and how many tiles of the order were asked for before.

local paths, at = {}, 0

function init(args)
  local deepest, offset = tonumber(args[1]), tonumber(args[2])
  for zoom = math.max(0, deepest - 3), deepest do
    for x = 0, 2 ^ zoom - 1 do
      for y = 0, 2 ^ zoom - 1 do
        for layer, suffix in pairs({before = "webp", after = "webp", score = "png"}) do
          paths[#paths + 1] = string.format(
            "/api/items/0/tiles/%s/%d/%d/%d.%s", layer, zoom, x, y, suffix)
        end
      end
    end
  end
  table.sort(paths)
  math.randomseed(0)
  for last = #paths, 2, -1 do
    local other = math.random(last)
    paths[last], paths[other] = paths[other], paths[last]
  end
  at = offset
end

function request()
  at = at + 1
  return wrk.format("GET", paths[(at - 1) % #paths + 1])
end

function done(summary, latency, requests)
  local faults = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "seconds": %.3f, "p50_ms": %.2f, "p95_ms": %.2f, "p99_ms": %.2f, ' ..
    '"largest_ms": %.2f, "faults": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(95) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3,
    faults.connect + faults.read + faults.write + faults.status + faults.timeout))
end
