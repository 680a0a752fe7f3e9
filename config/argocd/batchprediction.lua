-- The health of a BatchPrediction for Argo CD. It is healthy once it has completed; until then it is Progressing, or
-- Suspended. One that failed, or waits for somebody to act, is Degraded.
local status = obj.status or {}
if status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "The operator has not seen this version yet." }
end
local found = {}
for _, condition in ipairs(status.conditions or {}) do
  found[condition.type] = condition
end
local ready = found.Ready or { status = "Unknown", message = "There is no condition Ready yet." }
local function is(name)
  return found[name] ~= nil and found[name].status == "True"
end
if is("Stalled") then
  return { status = "Degraded", message = found.Stalled.message }
end
if is("Suspended") then
  return { status = "Suspended", message = found.Suspended.message }
end
if ready.status == "True" then
  return { status = "Healthy", message = ready.message }
end
local reconciling = is("Reconciling") and found.Reconciling or ready
return { status = "Progressing", message = reconciling.message }
