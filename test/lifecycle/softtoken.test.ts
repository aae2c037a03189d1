import { lifecycle } from "./suite.ts";

lifecycle({ name: "the built-in token", declare: () => "{ module: softtoken, store: store/token.db, label: demo }" });
