// What the page asks of its server.

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function ask(address, options) {
  let answer;
  try {
    answer = await fetch(address, { cache: "no-store", ...options });
  } catch {
    throw new Refused(0, "The server does not answer: is 'salver annotate' still running? Nothing was saved.");
  }
  const isJson = answer.headers.get("content-type")?.startsWith("application/json");
  const body = isJson ? await answer.json() : await answer.text();
  if (!answer.ok) {
    throw new Refused(answer.status, typeof body === "string" ? body : String(body.detail));
  }
  return body;
}

export const getPage = () => ask("/api/page");
export const getVersion = () => ask("/api/version");
export const getDuplicates = () => ask("/api/duplicates");
export const save = (version, changes) => ask("/api/annotations", {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ version, changes }),
});

export const thumbnail = (image) => `/thumbnail?name=${encodeURIComponent(image.name)}&stamp=${image.stamp}`;
export const picture = (image) => `/picture?name=${encodeURIComponent(image.name)}`;
