-- How wrk makes a request, and how it says what it has counted: one line of JSON.
-- Arguments, after `--`: "close" for one request for each connection, or "keep"; the bytes to send.

function init(arguments)
   local size = tonumber(arguments[2])
   if arguments[1] == "close" then
      wrk.headers["Connection"] = "close"
   end
   if size > 0 then
      wrk.method = "POST"
      wrk.body = string.rep("x", size)
   end
end

function done(summary, latency)
   local e = summary.errors
   io.write(string.format(
      '{"rate": %.2f, "p50": %.3f, "p99": %.3f, "p999": %.3f, "errors": %d}\n',
      summary.requests / (summary.duration / 1e6),
      latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3,
      e.connect + e.read + e.write + e.status + e.timeout
   ))
end
