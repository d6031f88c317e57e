"""{{Name}}: greets whoever is named. Change it into what you need."""

from magic import Controller, contract


@contract("./{{snake}}.contract.yaml")
class {{Name}}Controller(Controller):
    async def execute(self, input: dict) -> dict:
        # The input is already checked against the contract.
        return {"greeting": f"Hello, {input['name']}!"}
