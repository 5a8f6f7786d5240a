"""The same rewards in other trainers: ms-swift, verifiers, TRL; and rows of data as each of them reads them."""
