"""Alerts: rules that events and loud sounds are judged by, and ways to tell somebody.

settings, rules_file, secrets   what the rules file says
judge, loud     which events, and which sounds of no class, raise an alert
alert           what is told
outbox          alerts that wait, on disk
sender          hands on what waits, again and again, in a thread for each target
mqtt, discovery, webhook, command_line      the targets
desk            all of these together
station         what follows one stream: its recorder, its folder, its alerts
"""
