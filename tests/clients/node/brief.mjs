// Tells failures in full and the rest as a number.
export default async function* brief(events) {
  const count = { passed: 0, failed: 0, skipped: 0 };
  for await (const { type, data } of events) {
    if (type === "test:pass") count[data.skip === undefined ? "passed" : "skipped"]++;
    if (type === "test:fail" && data.details.error.failureType !== "subtestsFailed") {
      count.failed++;
      yield `FAILED ${data.name}\n${data.details.error.cause?.stack ?? data.details.error}\n`;
    }
    if (type === "test:stderr" || type === "test:stdout") yield data.message;
  }
  yield `${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped\n`;
}
