import { ask, Subscriptions } from "./graphql.js";

const id = (name) => document.getElementById(name);
const subscriptions = new Subscriptions();

function show(form, { title, price, bidder, bids }) {
  form.querySelector("h2").textContent = title;
  form.querySelector(".price").textContent = bids ? `€ ${price.toLocaleString("en")}` : "no bid yet";
  form.querySelector(".who").textContent = bids ? `by ${bidder}, ${bids} ${bids === 1 ? "bid" : "bids"}` : "";
  form.querySelector(".amount").placeholder = price + 10;
}

function add(lot) {
  id("lots").append(id("lot").content.cloneNode(true));
  const form = id("lots").lastElementChild;
  const amount = form.querySelector(".amount");
  show(form, lot);
  subscriptions.subscribe(
    "subscription ($id: ID!) { lot(id: $id) { title price bidder bids } }",
    { id: lot.id },
    (data) => show(form, data.lot),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    id("refused").textContent = "";
    try {
      const variables = { lot: lot.id, amount: Number(amount.value), bidder: id("bidder").value };
      await ask("mutation ($lot: ID!, $amount: Int!, $bidder: String!) { bid(lot: $lot, amount: $amount, bidder: $bidder) { id } }", variables);
      amount.value = "";
    } catch (error) {
      id("refused").textContent = `Not taken: ${error.message}.`;
    }
  });
}

const { lots } = await ask("{ lots { id title price bidder bids } }");
lots.forEach(add);
