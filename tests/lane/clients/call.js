// grpc-js, the client of Node.js, with messages as bytes.
"use strict";
const fs = require("fs");
const grpc = require(process.env.GRPC_JS || "@grpc/grpc-js");

const same = (bytes) => bytes;
const client = new grpc.Client(process.argv[2], grpc.credentials.createInsecure());

function call(asked) {
  const metadata = new grpc.Metadata();
  for (const [name, value] of asked.metadata)
    metadata.add(name, name.endsWith("-bin") ? Buffer.from(value, "hex") : value);
  const options = { deadline: Date.now() + asked.deadline_ms };
  const request = Buffer.from(asked.request, "hex");
  return new Promise((resolve) => {
    const made = client.makeUnaryRequest(
      asked.path, same, same, request, metadata, options,
      (error, response) => {
        const details = error && error.metadata.get("grpc-status-details-bin")[0];
        resolve({
          code: error ? error.code : 0,
          message: error ? error.details : "",
          details: details ? details.toString("hex") : "",
          response: response ? response.toString("hex") : "",
        });
      });
    if (asked.cancel) made.cancel();
  });
}

(async () => {
  const results = [];
  for (const asked of JSON.parse(fs.readFileSync(process.argv[3])))
    results.push(await call(asked));
  console.log(JSON.stringify(results));
  client.close();
})();
