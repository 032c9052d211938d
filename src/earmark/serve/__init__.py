"""The live page and its server: `earmark serve`, with the extra `earmark[serve]`.

settings    limits, and who may come
protocol    messages of the WebSocket, to and from bytes
columns     the model's mel frames, at a size for a screen
why         what came near an event, and the rule that stopped it
stream      one stream: samples in, messages out
hub         advances all streams together, in a thread beside the event loop
sources     files and the server's microphone, as streams
clips, uploads      sounds that are kept for a while, within bounds
guard       hosts, origins, tokens, headers
connection, app, server     the WebSocket, the addresses, the process
"""
