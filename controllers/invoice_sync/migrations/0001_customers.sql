-- The table that InvoiceSync reads, with the customer of its example. SQLite and PostgreSQL both take it.
CREATE TABLE customers (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    stripe_id text NOT NULL
);

INSERT INTO customers (id, name, stripe_id)
VALUES ('3f2b8c1e-5d4a-4e6f-9a7b-0c1d2e3f4a5b', 'Ada Lovelace', 'cus_1001');
