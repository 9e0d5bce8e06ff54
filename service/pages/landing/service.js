// What the page asks of the service. The key is kept in this module's memory and nowhere else.

let key = "";

export const useKey = (text) => { key = text; };

export class Refused extends Error {
  constructor(status, problem) {
    super([problem.title, problem.detail].filter(Boolean).join(": "));
    this.status = status;
  }
}

async function answerOf(address, options = {}) {
  const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  const answer = await fetch(address, { cache: "no-store", credentials: "omit", ...options, headers });
  const isJson = answer.headers.get("content-type")?.includes("json");
  const body = isJson ? await answer.json() : { title: `Status ${answer.status}`, detail: await answer.text() };
  if (!answer.ok) {
    throw new Refused(answer.status, body);
  }
  return { body, version: answer.headers.get("x-model-version") };
}

export const getModel = async () => (await answerOf("model")).body;

// A request is { body, type, query, curl }: what is sent, and what stands for the body in a curl command.
// Of the parameters only those that are asked for, so that an older service understands it too.
export function fileRequest(file, parameters) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value).map(written)).toString();
  const type = file.type.startsWith("image/") ? file.type : "image/*";  // the content decides what it is
  return { body: file, type, query: query && `?${query}`, curl: `@${file.name}` };
}

// As JSON: a label may be called "true".
const written = ([name, value]) => [name, JSON.stringify(value)];

export function urlRequest(url, { add_softmax, ...beside }) {
  const asked = Object.fromEntries(Object.entries(beside).filter(([, value]) => value));
  const body = JSON.stringify([{ image_url: url, parameters: { add_softmax, ...asked } }]);
  return { body, type: "application/json", query: "", curl: body };
}

// Gives the answer as `body`, and the `version` of the model that gave it.
export const score = ({ body, type, query }, signal) => answerOf(`score${query}`, {
  method: "POST", headers: { "Content-Type": type }, body, signal,
});

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export function curlCommand({ type, query, curl }) {
  return [
    `curl ${quoted(new URL(`score${query}`, document.baseURI).href)}`,
    ...(key ? ['-H "Authorization: Bearer $SALVER_KEY"'] : []),
    `-H ${quoted(`Content-Type: ${type}`)}`,
    `--data-binary ${quoted(curl)}`,
  ].join(" \\\n  ");
}
