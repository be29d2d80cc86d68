"""kopf, which watches the VLLMModels: login, watch and life cycle. Handlers only store and enqueue."""
