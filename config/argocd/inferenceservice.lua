-- The health of an InferenceService for Argo CD. A service that nobody has looked at yet, or whose status speaks of an
-- older manifest, is Progressing; one that its author stopped is Suspended. Stalled, and containers that end by
-- themselves, are Degraded: nothing gets better until somebody acts.
local failures = {
  CrashLoopBackOff = true,
  Evicted = true,
  ModelLoadFailed = true,
  OOMKilled = true,
  UnsafeFormat = true,
}
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
if is("Stopped") then
  return { status = "Suspended", message = found.Stopped.message }
end
if is("Stalled") then
  return { status = "Degraded", message = found.Stalled.message }
end
if ready.status == "False" and failures[ready.reason] then
  return { status = "Degraded", message = ready.message }
end
if ready.status == "True" and not is("Reconciling") then
  return { status = "Healthy", message = ready.message }
end
local reconciling = is("Reconciling") and found.Reconciling or ready
return { status = "Progressing", message = reconciling.message }
