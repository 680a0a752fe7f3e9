-- The health of a ServingRuntime or ClusterServingRuntime for Argo CD. It is data that services read, so there is
-- nothing to wait for; where the operator is bound to namespaces, nobody writes a status on a ClusterServingRuntime.
local status = obj.status or {}
if status.conditions == nil then
  return { status = "Healthy", message = "" }
end
if status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "The operator has not seen this version yet." }
end
for _, condition in ipairs(status.conditions) do
  if condition.type == "Stalled" and condition.status == "True" then
    return { status = "Degraded", message = condition.message }
  end
end
for _, condition in ipairs(status.conditions) do
  if condition.type == "Ready" then
    if condition.reason == "Disabled" then
      return { status = "Suspended", message = condition.message }
    end
    return { status = "Healthy", message = condition.message }
  end
end
return { status = "Progressing", message = "There is no condition Ready yet." }
