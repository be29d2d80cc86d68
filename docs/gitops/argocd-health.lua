-- Health of a VLLMModel for Argo CD.
hs = { status = "Progressing", message = "The operator has not seen this generation yet." }
if obj.status == nil or obj.status.conditions == nil then
  return hs
end
if obj.status.observedGeneration ~= obj.metadata.generation then
  return hs
end

local conditions = {}
for _, condition in ipairs(obj.status.conditions) do
  conditions[condition.type] = condition
end
local ready = conditions["Ready"]
if ready == nil then
  return hs
end
hs.message = ready.reason .. ": " .. ready.message

if conditions["Stalled"] ~= nil and conditions["Stalled"].status == "True" then
  hs.status = "Degraded"
elseif ready.reason == "Paused" then
  hs.status = "Suspended"
elseif ready.status == "True" then
  hs.status = "Healthy"
elseif conditions["Reconciling"] ~= nil and conditions["Reconciling"].status == "True" then
  hs.status = "Progressing"
elseif ready.status == "False" then
  -- It was rolled out, and no longer does what it did.
  hs.status = "Degraded"
end
return hs
