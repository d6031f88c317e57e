-- One request after another, and the figures as one line of JSON at the end.

wrk.method = "POST"
wrk.body = '{"message":"hello"}'
wrk.headers["Content-Type"] = "application/json"

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '\n{"p50_ms":%.4f,"p99_ms":%.4f,"p999_ms":%.4f,"per_second":%.2f,"failed":%d}\n',
      latency:percentile(50) / 1000,
      latency:percentile(99) / 1000,
      latency:percentile(99.9) / 1000,
      summary.requests / (summary.duration / 1e6),
      errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
