"""Backpropagation by hand: a small expression, its graph, its gradients, and its paths.

Run: python examples/backprop_by_hand.py
"""

from gradwitness.reference_engine import Value, paths, text_tree

# Whole numbers stay whole numbers: nothing is rounded here.
x, y = Value(2), Value(-3)
product = x * y
total = product + x
loss = total**2
names = {"x": x, "y": y, "product": product, "total": total, "loss": loss}

print("The graph, from the result down to the inputs; gradient means: of loss, with respect to this.\n")
print(text_tree(loss, names))

# From the result back, one step of the graph at a time: what arrives at a node, times the slope towards each operand.
d_loss = 1
d_total = d_loss * 2 * total.data  # loss = total², slope 2 total
d_product = d_total * 1  # total = product + x, slope 1 towards both
d_x_by_the_sum = d_total * 1
d_x_by_the_product = d_product * y.data  # product = x y, slope y towards x and x towards y
d_y = d_product * x.data
d_x = d_x_by_the_sum + d_x_by_the_product  # x is used twice: what comes back adds up

loss.backward()
print("\n          by hand   backward")
print(f"d loss/dx {d_x:7}   {x.grad:8}")
print(f"d loss/dy {d_y:7}   {y.grad:8}")

print("\nThe same as a sum over all ways from x to loss, each the product of its slopes:\n")
print(paths(loss, x, names))
