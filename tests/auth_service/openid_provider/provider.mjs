// A real OpenID provider for the tests: `node provider.mjs PORT REDIRECT_URI`. Whoever types a name is that person.
import { Provider } from "oidc-provider";

const [port, redirectUri] = process.argv.slice(2);
const people = {
  // Says to be somebody whose address the provider has not checked.
  mallory: { email: "alice@example.org", email_verified: false },
};

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{ client_id: "parley", client_secret: "canary-of-the-client", redirect_uris: [redirectUri] }],
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["preferred_username"] },
  cookies: { keys: ["only for tests"] },
  pkce: { required: () => true },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({
      sub: id,
      preferred_username: id,
      email: `${id}@example.org`,
      email_verified: true,
      ...people[id],
    }),
  }),
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
