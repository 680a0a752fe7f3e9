-- The health of a Model for Argo CD. One that nobody has looked at yet, or whose status speaks of an older manifest, is
-- Progressing; Stalled is Degraded, since nothing gets better until somebody acts; one whose service is stopped is
-- Suspended.
local status = obj.status or {}
if status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "The operator has not seen this version yet." }
end
local found = {}
for _, condition in ipairs(status.conditions or {}) do
  found[condition.type] = condition
end
local ready = found.Ready or { status = "Unknown", message = "There is no condition Ready yet." }
if found.Stalled ~= nil and found.Stalled.status == "True" then
  return { status = "Degraded", message = found.Stalled.message }
end
if ready.status == "True" then
  return { status = "Healthy", message = ready.message }
end
if ready.reason == "Stopped" then
  return { status = "Suspended", message = ready.message }
end
return { status = "Progressing", message = ready.message }
