BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('1b5f0d9ad7c1');
CREATE TABLE assessments (
	assessment_id VARCHAR(50) NOT NULL, 
	trace_id VARCHAR(50) NOT NULL, 
	name VARCHAR(250) NOT NULL, 
	assessment_type VARCHAR(20) NOT NULL, 
	value TEXT NOT NULL, 
	error TEXT, 
	created_timestamp BIGINT NOT NULL, 
	last_updated_timestamp BIGINT NOT NULL, 
	source_type VARCHAR(50) NOT NULL, 
	source_id VARCHAR(250), 
	run_id VARCHAR(32), 
	span_id VARCHAR(50), 
	rationale TEXT, 
	overrides VARCHAR(50), 
	valid BOOLEAN NOT NULL, 
	assessment_metadata TEXT, 
	CONSTRAINT assessments_pk PRIMARY KEY (assessment_id), 
	CONSTRAINT fk_assessments_trace_id FOREIGN KEY(trace_id) REFERENCES trace_info (request_id) ON DELETE CASCADE
);
INSERT INTO "assessments" VALUES('a-d05f2f443445e4f0c0b3849ee3b568d0','tr-4f4abad1b1513889ef150e114db40b1c','name 0','feedback','0.5','{"error_code": "TIMEOUT", "error_message": "zu spät"}',1700000000000,1700000000500,'HUMAN','source_id 0','a970a3d6ed19d2b57d049d3697a604b1','430fd706f375fce1','rationale 0: größe 模型 🎈',NULL,1,'{"reviewed": "yes"}');
INSERT INTO "assessments" VALUES('a-4757b7126b6e78ce8e43163f01ed4d04','tr-8c9311465398d27fa380456fbba5d367','name 1','expectation','"größe"',NULL,1700000001000,1700000001500,'CODE',NULL,'4708fad4d3f431a7e50a59f642310886','79f09af5e545e43e',NULL,NULL,1,NULL);
CREATE TABLE "datasets" (
	dataset_uuid VARCHAR(36) NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	name VARCHAR(500) NOT NULL, 
	digest VARCHAR(36) NOT NULL, 
	dataset_source_type VARCHAR(36) NOT NULL, 
	dataset_source TEXT NOT NULL, 
	dataset_schema TEXT, 
	dataset_profile TEXT, 
	CONSTRAINT dataset_pk PRIMARY KEY (experiment_id, name, digest), 
	CONSTRAINT fk_datasets_experiment_id_experiments FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id) ON DELETE CASCADE
);
INSERT INTO "datasets" VALUES('3f3cc1f3da7077af77aba017810c77ec',1,'name 0','digest 0','dataset_source_type 0','dataset_source 0: größe 模型 🎈','dataset_schema 0: größe 模型 🎈','dataset_profile 0: größe 模型 🎈');
INSERT INTO "datasets" VALUES('276f04e149034e59965f58452d841636',2,'name 1','digest 1','dataset_source_type 1','dataset_source 1: größe 模型 🎈',NULL,NULL);
CREATE TABLE endpoint_bindings (
	endpoint_id VARCHAR(36) NOT NULL, 
	resource_type VARCHAR(50) NOT NULL, 
	resource_id VARCHAR(255) NOT NULL, 
	created_at BIGINT NOT NULL, 
	created_by VARCHAR(255), 
	last_updated_at BIGINT NOT NULL, 
	last_updated_by VARCHAR(255), display_name VARCHAR(255), 
	CONSTRAINT endpoint_bindings_pk PRIMARY KEY (endpoint_id, resource_type, resource_id), 
	CONSTRAINT fk_endpoint_bindings_endpoint_id FOREIGN KEY(endpoint_id) REFERENCES endpoints (endpoint_id) ON DELETE CASCADE
);
INSERT INTO "endpoint_bindings" VALUES('e-41a9a55a48e1e79f79d8a59681bc96ab','scorer','cc9349ee680a73f08f57dfddcfbadbf0',1700000000000,'ada',1700000000500,'bob','display_name 0');
INSERT INTO "endpoint_bindings" VALUES('e-313d2490e59fa4c658ba4d0b27923e5c','scorer','57143f0682756142d7639c88b515fbd4',1700000001000,'bob',1700000001500,'ada',NULL);
CREATE TABLE endpoint_model_mappings (
	mapping_id VARCHAR(36) NOT NULL, 
	endpoint_id VARCHAR(36) NOT NULL, 
	model_definition_id VARCHAR(36) NOT NULL, 
	weight FLOAT NOT NULL, 
	created_by VARCHAR(255), 
	created_at BIGINT NOT NULL, linkage_type VARCHAR(64) DEFAULT 'PRIMARY' NOT NULL, fallback_order INTEGER, 
	CONSTRAINT endpoint_model_mappings_pk PRIMARY KEY (mapping_id), 
	CONSTRAINT fk_endpoint_model_mappings_endpoint_id FOREIGN KEY(endpoint_id) REFERENCES endpoints (endpoint_id) ON DELETE CASCADE, 
	CONSTRAINT fk_endpoint_model_mappings_model_definition_id FOREIGN KEY(model_definition_id) REFERENCES model_definitions (model_definition_id)
);
INSERT INTO "endpoint_model_mappings" VALUES('m-76dd22453b583e45a29c934a062e2617','e-41a9a55a48e1e79f79d8a59681bc96ab','d-23f9106147f71c491b543cc69a6026da',0.25,'ada',1700000000000,'PRIMARY',1);
INSERT INTO "endpoint_model_mappings" VALUES('m-42cc10d7a733f0d180562c52b1fdc939','e-313d2490e59fa4c658ba4d0b27923e5c','d-16ea1e5677c48726d47a8a6db02e652a',1.25,'bob',1700000001000,'FALLBACK',2);
CREATE TABLE endpoint_tags (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(5000), 
	endpoint_id VARCHAR(36) NOT NULL, 
	CONSTRAINT endpoint_tag_pk PRIMARY KEY ("key", endpoint_id), 
	CONSTRAINT fk_endpoint_tags_endpoint_id FOREIGN KEY(endpoint_id) REFERENCES endpoints (endpoint_id) ON DELETE CASCADE
);
INSERT INTO "endpoint_tags" VALUES('key 0','value 0','e-41a9a55a48e1e79f79d8a59681bc96ab');
INSERT INTO "endpoint_tags" VALUES('key 1','value 1','e-313d2490e59fa4c658ba4d0b27923e5c');
CREATE TABLE "endpoints" (
	endpoint_id VARCHAR(36) NOT NULL, 
	name VARCHAR(255), 
	created_by VARCHAR(255), 
	created_at BIGINT NOT NULL, 
	last_updated_by VARCHAR(255), 
	last_updated_at BIGINT NOT NULL, 
	routing_strategy VARCHAR(64), 
	fallback_config_json TEXT, 
	experiment_id INTEGER, 
	usage_tracking BOOLEAN DEFAULT '0' NOT NULL, 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT endpoints_pk PRIMARY KEY (endpoint_id), 
	CONSTRAINT fk_endpoints_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id) ON DELETE SET NULL, 
	CONSTRAINT uq_endpoints_workspace_name UNIQUE (workspace, name)
);
INSERT INTO "endpoints" VALUES('e-41a9a55a48e1e79f79d8a59681bc96ab','name 0','ada',1700000000000,'bob',1700000000500,'REQUEST_BASED_TRAFFIC_SPLIT','{"strategy": "SEQUENTIAL", "max_attempts": 2}',1,1,'default');
INSERT INTO "endpoints" VALUES('e-313d2490e59fa4c658ba4d0b27923e5c',NULL,'bob',1700000001000,'ada',1700000001500,NULL,NULL,2,0,'default');
CREATE TABLE entity_associations (
	association_id VARCHAR(36) NOT NULL, 
	source_type VARCHAR(36) NOT NULL, 
	source_id VARCHAR(36) NOT NULL, 
	destination_type VARCHAR(36) NOT NULL, 
	destination_id VARCHAR(36) NOT NULL, 
	created_time BIGINT, 
	CONSTRAINT entity_associations_pk PRIMARY KEY (source_type, source_id, destination_type, destination_id)
);
INSERT INTO "entity_associations" VALUES('5820133483f4a48b03fb575587c54e16','trace','tr-4f4abad1b1513889ef150e114db40b1c','run','a970a3d6ed19d2b57d049d3697a604b1',1700000000000);
INSERT INTO "entity_associations" VALUES('166dcfb0b7737f46aa96e232783ab6f7','evaluation_dataset','d-a2a223599e63c14d7229ca9d63dc70cf','experiment','2',1700000001000);
CREATE TABLE "evaluation_dataset_records" (
	dataset_record_id VARCHAR(36) NOT NULL, 
	dataset_id VARCHAR(36) NOT NULL, 
	inputs JSON NOT NULL, 
	expectations JSON, 
	tags JSON, 
	source JSON, 
	source_id VARCHAR(36), 
	source_type VARCHAR(255), 
	created_time BIGINT, 
	last_update_time BIGINT, 
	created_by VARCHAR(255), 
	last_updated_by VARCHAR(255), 
	input_hash VARCHAR(64) NOT NULL, outputs JSON, 
	CONSTRAINT evaluation_dataset_records_pk PRIMARY KEY (dataset_record_id), 
	CONSTRAINT fk_evaluation_dataset_records_dataset_id FOREIGN KEY(dataset_id) REFERENCES evaluation_datasets (dataset_id) ON DELETE CASCADE, 
	CONSTRAINT unique_dataset_input UNIQUE (dataset_id, input_hash)
);
INSERT INTO "evaluation_dataset_records" VALUES('dr-3a6e2d39f4554e95275458b13a0f85fb','d-7f6cdb6634c71ad0092dbde21bf66ca5','{"question": "Wo ist 0? \u6a21\u578b", "at": 0}','{"zeta": [1, 2.5, null, true], "gr\u00f6\u00dfe \u6a21\u578b": {"number": 0}}','{"zeta": [1, 2.5, null, true], "gr\u00f6\u00dfe \u6a21\u578b": {"number": 0}}','{"source_type": "HUMAN", "source_data": {"user": "ada"}}','source_id 0','HUMAN',1700000000000,1700000000500,'ada','bob','2982232f8e0d382ece410a2d98227cc3e9ebaf19be71fd249dd684d72db6b0af','{"zeta": [1, 2.5, null, true], "gr\u00f6\u00dfe \u6a21\u578b": {"number": 0}}');
INSERT INTO "evaluation_dataset_records" VALUES('dr-2086094a7aa7ef36262a16b714d8af64','d-a2a223599e63c14d7229ca9d63dc70cf','{"question": "Wo ist 1? \u6a21\u578b", "at": 1}','{"zeta": [1, 2.5, null, true], "gr\u00f6\u00dfe \u6a21\u578b": {"number": 1}}','{"zeta": [1, 2.5, null, true], "gr\u00f6\u00dfe \u6a21\u578b": {"number": 1}}','null',NULL,NULL,1700000001000,1700000001500,'bob','ada','fafa97b1d429c8397f329dc2af368723b2cfcc4cbf1349f9ed68d533b64d378a','{"zeta": [1, 2.5, null, true], "gr\u00f6\u00dfe \u6a21\u578b": {"number": 1}}');
CREATE TABLE evaluation_dataset_tags (
	dataset_id VARCHAR(36) NOT NULL, 
	"key" VARCHAR(255) NOT NULL, 
	value VARCHAR(5000), 
	CONSTRAINT evaluation_dataset_tags_pk PRIMARY KEY (dataset_id, "key"), 
	CONSTRAINT fk_evaluation_dataset_tags_dataset_id FOREIGN KEY(dataset_id) REFERENCES evaluation_datasets (dataset_id) ON DELETE CASCADE
);
INSERT INTO "evaluation_dataset_tags" VALUES('d-7f6cdb6634c71ad0092dbde21bf66ca5','key 0','value 0');
INSERT INTO "evaluation_dataset_tags" VALUES('d-a2a223599e63c14d7229ca9d63dc70cf','key 1','value 1');
CREATE TABLE "evaluation_datasets" (
	dataset_id VARCHAR(36) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	schema TEXT, 
	profile TEXT, 
	digest VARCHAR(64), 
	created_time BIGINT, 
	last_update_time BIGINT, 
	created_by VARCHAR(255), 
	last_updated_by VARCHAR(255), 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT evaluation_datasets_pk PRIMARY KEY (dataset_id)
);
INSERT INTO "evaluation_datasets" VALUES('d-7f6cdb6634c71ad0092dbde21bf66ca5','name 0','{"inputs": {"question": "string"}}','{"num_records": 1}','8a7b0c1d',1700000000000,1700000000500,'ada','bob','default');
INSERT INTO "evaluation_datasets" VALUES('d-a2a223599e63c14d7229ca9d63dc70cf','name 1',NULL,NULL,'1f2e3d4c',1700000001000,1700000001500,'bob','ada','default');
CREATE TABLE experiment_tags (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(5000), 
	experiment_id INTEGER NOT NULL, 
	CONSTRAINT experiment_tag_pk PRIMARY KEY ("key", experiment_id), 
	FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id)
);
INSERT INTO "experiment_tags" VALUES('key 0','value 0',1);
INSERT INTO "experiment_tags" VALUES('key 1','value 1',2);
CREATE TABLE "experiments" (
	experiment_id INTEGER NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	artifact_location VARCHAR(256), 
	lifecycle_stage VARCHAR(32), 
	creation_time BIGINT, 
	last_update_time BIGINT, 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT experiment_pk PRIMARY KEY (experiment_id), 
	CONSTRAINT experiments_lifecycle_stage CHECK (lifecycle_stage IN ('active', 'deleted')), 
	CONSTRAINT uq_experiments_workspace_name UNIQUE (workspace, name)
);
INSERT INTO "experiments" VALUES(1,'name 0','gs://artifacts/1','active',1700000000000,1700000000500,'default');
INSERT INTO "experiments" VALUES(2,'name 1','gs://artifacts/2','active',1700000001000,1700000001500,'default');
CREATE TABLE input_tags (
	input_uuid VARCHAR(36) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	value VARCHAR(500) NOT NULL, 
	CONSTRAINT input_tags_pk PRIMARY KEY (input_uuid, name)
);
INSERT INTO "input_tags" VALUES('b93f41534275ceadce794068e12dd87d','mlflow.data.context','value 0');
INSERT INTO "input_tags" VALUES('280b0f39a0ce1a9ba23546a8f4133018','mlflow.data.context','value 1');
CREATE TABLE inputs (
	input_uuid VARCHAR(36) NOT NULL, 
	source_type VARCHAR(36) NOT NULL, 
	source_id VARCHAR(36) NOT NULL, 
	destination_type VARCHAR(36) NOT NULL, 
	destination_id VARCHAR(36) NOT NULL, step BIGINT DEFAULT '0' NOT NULL, 
	CONSTRAINT inputs_pk PRIMARY KEY (source_type, source_id, destination_type, destination_id)
);
INSERT INTO "inputs" VALUES('b93f41534275ceadce794068e12dd87d','DATASET','3f3cc1f3da7077af77aba017810c77ec','RUN','a970a3d6ed19d2b57d049d3697a604b1',0);
INSERT INTO "inputs" VALUES('280b0f39a0ce1a9ba23546a8f4133018','DATASET','276f04e149034e59965f58452d841636','RUN','4708fad4d3f431a7e50a59f642310886',0);
CREATE TABLE "jobs" (
	id VARCHAR(36) NOT NULL, 
	creation_time BIGINT NOT NULL, 
	job_name VARCHAR(500) NOT NULL, 
	params TEXT NOT NULL, 
	timeout FLOAT, 
	status INTEGER NOT NULL, 
	result TEXT, 
	retry_count INTEGER NOT NULL, 
	last_update_time BIGINT NOT NULL, 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT jobs_pk PRIMARY KEY (id)
);
INSERT INTO "jobs" VALUES('2bc53a4e7cad51c420cdb281f698c244',1700000000000,'job_name 0','{}',0.25,0,'result 0: größe 模型 🎈',1,1700000000500,'default');
INSERT INTO "jobs" VALUES('1ca8ff56df8a041dd31b4a504e915910',1700000001000,'job_name 1','{}',1.25,2,NULL,2,1700000001500,'default');
CREATE TABLE "latest_metrics" (
	"key" VARCHAR(250) NOT NULL, 
	value FLOAT NOT NULL, 
	timestamp BIGINT, 
	step BIGINT NOT NULL, 
	is_nan BOOLEAN NOT NULL, 
	run_uuid VARCHAR(32) NOT NULL, 
	CONSTRAINT latest_metric_pk PRIMARY KEY ("key", run_uuid), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid), 
	CHECK (is_nan IN (0, 1))
);
INSERT INTO "latest_metrics" VALUES('key 0',0.25,1700000000000,1,0,'a970a3d6ed19d2b57d049d3697a604b1');
INSERT INTO "latest_metrics" VALUES('key 1',1.25,1700000001000,2,0,'4708fad4d3f431a7e50a59f642310886');
CREATE TABLE logged_model_metrics (
	model_id VARCHAR(36) NOT NULL, 
	metric_name VARCHAR(500) NOT NULL, 
	metric_timestamp_ms BIGINT NOT NULL, 
	metric_step BIGINT NOT NULL, 
	metric_value FLOAT, 
	experiment_id INTEGER NOT NULL, 
	run_id VARCHAR(32) NOT NULL, 
	dataset_uuid VARCHAR(36), 
	dataset_name VARCHAR(500), 
	dataset_digest VARCHAR(36), 
	CONSTRAINT logged_model_metrics_pk PRIMARY KEY (model_id, metric_name, metric_timestamp_ms, metric_step, run_id), 
	CONSTRAINT fk_logged_model_metrics_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id), 
	CONSTRAINT fk_logged_model_metrics_model_id FOREIGN KEY(model_id) REFERENCES logged_models (model_id) ON DELETE CASCADE, 
	CONSTRAINT fk_logged_model_metrics_run_id FOREIGN KEY(run_id) REFERENCES runs (run_uuid) ON DELETE CASCADE
);
INSERT INTO "logged_model_metrics" VALUES('m-cce220c3e2be5826148171d8e4a9bcea','metric_name 0',1700000000000,1,0.25,1,'a970a3d6ed19d2b57d049d3697a604b1','3f3cc1f3da7077af77aba017810c77ec','name 0','digest 0');
INSERT INTO "logged_model_metrics" VALUES('m-ff6e638c4ae01e6f55493cf4fd32dce9','metric_name 1',1700000001000,2,1.25,2,'4708fad4d3f431a7e50a59f642310886','276f04e149034e59965f58452d841636','name 1','digest 1');
CREATE TABLE logged_model_params (
	model_id VARCHAR(36) NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	param_key VARCHAR(255) NOT NULL, 
	param_value TEXT NOT NULL, 
	CONSTRAINT logged_model_params_pk PRIMARY KEY (model_id, param_key), 
	CONSTRAINT fk_logged_model_params_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id), 
	CONSTRAINT fk_logged_model_params_model_id FOREIGN KEY(model_id) REFERENCES logged_models (model_id) ON DELETE CASCADE
);
INSERT INTO "logged_model_params" VALUES('m-cce220c3e2be5826148171d8e4a9bcea',1,'param_key 0','param_value 0: größe 模型 🎈');
INSERT INTO "logged_model_params" VALUES('m-ff6e638c4ae01e6f55493cf4fd32dce9',2,'param_key 1','param_value 1: größe 模型 🎈');
CREATE TABLE logged_model_tags (
	model_id VARCHAR(36) NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	tag_key VARCHAR(255) NOT NULL, 
	tag_value TEXT NOT NULL, 
	CONSTRAINT logged_model_tags_pk PRIMARY KEY (model_id, tag_key), 
	CONSTRAINT fk_logged_model_tags_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id), 
	CONSTRAINT fk_logged_model_tags_model_id FOREIGN KEY(model_id) REFERENCES logged_models (model_id) ON DELETE CASCADE
);
INSERT INTO "logged_model_tags" VALUES('m-cce220c3e2be5826148171d8e4a9bcea',1,'tag_key 0','tag_value 0: größe 模型 🎈');
INSERT INTO "logged_model_tags" VALUES('m-ff6e638c4ae01e6f55493cf4fd32dce9',2,'tag_key 1','tag_value 1: größe 模型 🎈');
CREATE TABLE logged_models (
	model_id VARCHAR(36) NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	name VARCHAR(500) NOT NULL, 
	artifact_location VARCHAR(1000) NOT NULL, 
	creation_timestamp_ms BIGINT NOT NULL, 
	last_updated_timestamp_ms BIGINT NOT NULL, 
	status INTEGER NOT NULL, 
	lifecycle_stage VARCHAR(32), 
	model_type VARCHAR(500), 
	source_run_id VARCHAR(32), 
	status_message VARCHAR(1000), 
	CONSTRAINT logged_models_pk PRIMARY KEY (model_id), 
	CONSTRAINT logged_models_lifecycle_stage_check CHECK (lifecycle_stage IN ('active', 'deleted')), 
	CONSTRAINT fk_logged_models_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id) ON DELETE CASCADE
);
INSERT INTO "logged_models" VALUES('m-cce220c3e2be5826148171d8e4a9bcea',1,'name 0','gs://artifacts/1/models/m',1700000000000,1700000000500,2,'active','model_type 0','a970a3d6ed19d2b57d049d3697a604b1','status_message 0');
INSERT INTO "logged_models" VALUES('m-ff6e638c4ae01e6f55493cf4fd32dce9',2,'name 1','gs://artifacts/2/models/m',1700000001000,1700000001500,1,'active',NULL,'4708fad4d3f431a7e50a59f642310886',NULL);
CREATE TABLE "metrics" (
	"key" VARCHAR(250) NOT NULL, 
	value FLOAT NOT NULL, 
	timestamp BIGINT NOT NULL, 
	run_uuid VARCHAR(32) NOT NULL, 
	step BIGINT DEFAULT '0' NOT NULL, 
	is_nan BOOLEAN DEFAULT '0' NOT NULL, 
	CONSTRAINT metric_pk PRIMARY KEY ("key", timestamp, step, run_uuid, value, is_nan), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid), 
	CHECK (is_nan IN (0, 1))
);
INSERT INTO "metrics" VALUES('key 0',0.25,1700000000000,'a970a3d6ed19d2b57d049d3697a604b1',1,0);
INSERT INTO "metrics" VALUES('key 1',1.25,1700000001000,'4708fad4d3f431a7e50a59f642310886',2,0);
CREATE TABLE "model_definitions" (
	model_definition_id VARCHAR(36) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	secret_id VARCHAR(36), 
	provider VARCHAR(64) NOT NULL, 
	model_name VARCHAR(256) NOT NULL, 
	created_by VARCHAR(255), 
	created_at BIGINT NOT NULL, 
	last_updated_by VARCHAR(255), 
	last_updated_at BIGINT NOT NULL, 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT model_definitions_pk PRIMARY KEY (model_definition_id), 
	CONSTRAINT fk_model_definitions_secret_id FOREIGN KEY(secret_id) REFERENCES secrets (secret_id) ON DELETE SET NULL, 
	CONSTRAINT uq_model_definitions_workspace_name UNIQUE (workspace, name)
);
INSERT INTO "model_definitions" VALUES('d-23f9106147f71c491b543cc69a6026da','name 0','s-e1df758eb88baeb9d0196bcdd0927b80','openai','model_name 0','ada',1700000000000,'bob',1700000000500,'default');
INSERT INTO "model_definitions" VALUES('d-16ea1e5677c48726d47a8a6db02e652a','name 1','s-df97a2591241fe9a408df69782cf0af9','anthropic','model_name 1','bob',1700000001000,'ada',1700000001500,'default');
CREATE TABLE "model_version_tags" (
	"key" VARCHAR(250) NOT NULL, 
	value TEXT, 
	name VARCHAR(256) NOT NULL, 
	version INTEGER NOT NULL, 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT model_version_tag_pk PRIMARY KEY (workspace, "key", name, version), 
	CONSTRAINT fk_model_version_tags_model_versions FOREIGN KEY(workspace, name, version) REFERENCES model_versions (workspace, name, version) ON UPDATE CASCADE
);
INSERT INTO "model_version_tags" VALUES('key 0','value 0: größe 模型 🎈','name 0',1,'default');
INSERT INTO "model_version_tags" VALUES('key 1','value 1: größe 模型 🎈','name 1',2,'default');
CREATE TABLE "model_versions" (
	name VARCHAR(256) NOT NULL, 
	version INTEGER NOT NULL, 
	creation_time BIGINT, 
	last_updated_time BIGINT, 
	description VARCHAR(5000), 
	user_id VARCHAR(256), 
	current_stage VARCHAR(20), 
	source VARCHAR(500), 
	run_id VARCHAR(32), 
	status VARCHAR(20), 
	status_message VARCHAR(500), 
	run_link VARCHAR(500), 
	storage_location VARCHAR(500), 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT model_version_pk PRIMARY KEY (workspace, name, version), 
	CONSTRAINT fk_model_versions_registered_models FOREIGN KEY(workspace, name) REFERENCES registered_models (workspace, name) ON UPDATE CASCADE
);
INSERT INTO "model_versions" VALUES('name 0',1,1700000000000,1700000000500,'description 0','ada','Production','source 0','a970a3d6ed19d2b57d049d3697a604b1','READY','status_message 0','run_link 0','storage_location 0','default');
INSERT INTO "model_versions" VALUES('name 1',2,1700000001000,1700000001500,NULL,'bob','None',NULL,'4708fad4d3f431a7e50a59f642310886','READY',NULL,NULL,NULL,'default');
CREATE TABLE online_scoring_configs (
	online_scoring_config_id VARCHAR(36) NOT NULL, 
	scorer_id VARCHAR(36) NOT NULL, 
	sample_rate FLOAT NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	filter_string TEXT, 
	CONSTRAINT online_scoring_config_pk PRIMARY KEY (online_scoring_config_id), 
	CONSTRAINT fk_online_scoring_configs_scorer_id FOREIGN KEY(scorer_id) REFERENCES scorers (scorer_id) ON DELETE CASCADE, 
	CONSTRAINT fk_online_scoring_configs_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id)
);
INSERT INTO "online_scoring_configs" VALUES('1e831f5de78c2fcbd14f79189bdb0803','cc9349ee680a73f08f57dfddcfbadbf0',0.5,1,'filter_string 0: größe 模型 🎈');
INSERT INTO "online_scoring_configs" VALUES('a4670e1794d54878fe037787c97f37e0','57143f0682756142d7639c88b515fbd4',0.25,2,NULL);
CREATE TABLE "params" (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(8000) NOT NULL, 
	run_uuid VARCHAR(32) NOT NULL, 
	CONSTRAINT param_pk PRIMARY KEY ("key", run_uuid), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid)
);
INSERT INTO "params" VALUES('key 0','value 0','a970a3d6ed19d2b57d049d3697a604b1');
INSERT INTO "params" VALUES('key 1','value 1','4708fad4d3f431a7e50a59f642310886');
CREATE TABLE "registered_model_aliases" (
	alias VARCHAR(256) NOT NULL, 
	version INTEGER NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT registered_model_alias_pk PRIMARY KEY (workspace, name, alias), 
	CONSTRAINT fk_registered_model_aliases_registered_models FOREIGN KEY(workspace, name) REFERENCES registered_models (workspace, name) ON DELETE CASCADE ON UPDATE CASCADE
);
INSERT INTO "registered_model_aliases" VALUES('alias 0',1,'name 0','default');
INSERT INTO "registered_model_aliases" VALUES('alias 1',2,'name 1','default');
CREATE TABLE "registered_model_tags" (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(5000), 
	name VARCHAR(256) NOT NULL, 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT registered_model_tag_pk PRIMARY KEY (workspace, "key", name), 
	CONSTRAINT fk_registered_model_tags_registered_models FOREIGN KEY(workspace, name) REFERENCES registered_models (workspace, name) ON UPDATE CASCADE
);
INSERT INTO "registered_model_tags" VALUES('key 0','value 0','name 0','default');
INSERT INTO "registered_model_tags" VALUES('key 1','value 1','name 1','default');
CREATE TABLE "registered_models" (
	name VARCHAR(256) NOT NULL, 
	creation_time BIGINT, 
	last_updated_time BIGINT, 
	description VARCHAR(5000), 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT registered_model_pk PRIMARY KEY (workspace, name)
);
INSERT INTO "registered_models" VALUES('name 0',1700000000000,1700000000500,'description 0','default');
INSERT INTO "registered_models" VALUES('name 1',1700000001000,1700000001500,NULL,'default');
CREATE TABLE "runs" (
	run_uuid VARCHAR(32) NOT NULL, 
	name VARCHAR(250), 
	source_type VARCHAR(20), 
	source_name VARCHAR(500), 
	entry_point_name VARCHAR(50), 
	user_id VARCHAR(256), 
	status VARCHAR(9), 
	start_time BIGINT, 
	end_time BIGINT, 
	source_version VARCHAR(50), 
	lifecycle_stage VARCHAR(20), 
	artifact_uri VARCHAR(200), 
	experiment_id INTEGER, deleted_time BIGINT, 
	CONSTRAINT run_pk PRIMARY KEY (run_uuid), 
	CONSTRAINT runs_lifecycle_stage CHECK (lifecycle_stage IN ('active', 'deleted')), 
	CONSTRAINT source_type CHECK (source_type IN ('NOTEBOOK', 'JOB', 'LOCAL', 'UNKNOWN', 'PROJECT')), 
	FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id), 
	CHECK (status IN ('SCHEDULED', 'FAILED', 'FINISHED', 'RUNNING', 'KILLED'))
);
INSERT INTO "runs" VALUES('a970a3d6ed19d2b57d049d3697a604b1','name 0','LOCAL','source_name 0','entry_point_name 0','ada','FINISHED',1700000000000,1700000000500,'source_version 0','active','gs://artifacts/1/r',1,NULL);
INSERT INTO "runs" VALUES('4708fad4d3f431a7e50a59f642310886',NULL,'NOTEBOOK',NULL,NULL,'bob','RUNNING',1700000001000,NULL,NULL,'deleted','gs://artifacts/2/r',2,1700000001500);
CREATE TABLE scorer_versions (
	scorer_id VARCHAR(36) NOT NULL, 
	scorer_version INTEGER NOT NULL, 
	serialized_scorer TEXT NOT NULL, 
	creation_time BIGINT, 
	CONSTRAINT scorer_version_pk PRIMARY KEY (scorer_id, scorer_version), 
	CONSTRAINT fk_scorer_versions_scorer_id FOREIGN KEY(scorer_id) REFERENCES scorers (scorer_id) ON DELETE CASCADE
);
INSERT INTO "scorer_versions" VALUES('cc9349ee680a73f08f57dfddcfbadbf0',1,'{"name": "scorer_name 0", "builtin_scorer_class": "Safety"}',1700000000000);
INSERT INTO "scorer_versions" VALUES('57143f0682756142d7639c88b515fbd4',2,'{"name": "scorer_name 1", "builtin_scorer_class": "Safety"}',1700000001000);
CREATE TABLE scorers (
	experiment_id INTEGER NOT NULL, 
	scorer_name VARCHAR(256) NOT NULL, 
	scorer_id VARCHAR(36) NOT NULL, 
	CONSTRAINT scorer_pk PRIMARY KEY (scorer_id), 
	CONSTRAINT fk_scorers_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id) ON DELETE CASCADE
);
INSERT INTO "scorers" VALUES(1,'scorer_name 0','cc9349ee680a73f08f57dfddcfbadbf0');
INSERT INTO "scorers" VALUES(2,'scorer_name 1','57143f0682756142d7639c88b515fbd4');
CREATE TABLE "secrets" (
	secret_id VARCHAR(36) NOT NULL, 
	secret_name VARCHAR(255) NOT NULL, 
	encrypted_value BLOB NOT NULL, 
	wrapped_dek BLOB NOT NULL, 
	kek_version INTEGER NOT NULL, 
	masked_value VARCHAR(500) NOT NULL, 
	provider VARCHAR(64), 
	auth_config TEXT, 
	description TEXT, 
	created_by VARCHAR(255), 
	created_at BIGINT NOT NULL, 
	last_updated_by VARCHAR(255), 
	last_updated_at BIGINT NOT NULL, 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT secrets_pk PRIMARY KEY (secret_id), 
	CONSTRAINT uq_secrets_workspace_secret_name UNIQUE (workspace, secret_name)
);
INSERT INTO "secrets" VALUES('s-e1df758eb88baeb9d0196bcdd0927b80','secret_name 0',X'00FF4D4C4D4554412D5345435245542D656E637279707465645F76616C75652D30',X'00FF4D4C4D4554412D5345435245542D777261707065645F64656B2D30',1,'{"api_key": "MLMETA-SECRET-masked_value-0"}','openai','{"region": "eu"}','description 0: größe 模型 🎈','ada',1700000000000,'bob',1700000000500,'default');
INSERT INTO "secrets" VALUES('s-df97a2591241fe9a408df69782cf0af9','secret_name 1',X'00FF4D4C4D4554412D5345435245542D656E637279707465645F76616C75652D31',X'00FF4D4C4D4554412D5345435245542D777261707065645F64656B2D31',2,'{"api_key": "MLMETA-SECRET-masked_value-1"}','anthropic',NULL,NULL,'bob',1700000001000,'ada',1700000001500,'default');
CREATE TABLE span_metrics (
	trace_id VARCHAR(50) NOT NULL, 
	span_id VARCHAR(50) NOT NULL, 
	"key" VARCHAR(250) NOT NULL, 
	value FLOAT, 
	CONSTRAINT span_metrics_pk PRIMARY KEY (trace_id, span_id, "key"), 
	CONSTRAINT fk_span_metrics_span FOREIGN KEY(trace_id, span_id) REFERENCES spans (trace_id, span_id) ON DELETE CASCADE
);
INSERT INTO "span_metrics" VALUES('tr-4f4abad1b1513889ef150e114db40b1c','430fd706f375fce1','total_cost',0.5);
INSERT INTO "span_metrics" VALUES('tr-8c9311465398d27fa380456fbba5d367','79f09af5e545e43e','key 1',1.25);
CREATE TABLE spans (
	trace_id VARCHAR(50) NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	span_id VARCHAR(50) NOT NULL, 
	parent_span_id VARCHAR(50), 
	name TEXT, 
	type VARCHAR(500), 
	status VARCHAR(50) NOT NULL, 
	start_time_unix_nano BIGINT NOT NULL, 
	end_time_unix_nano BIGINT, 
	duration_ns BIGINT GENERATED ALWAYS AS (end_time_unix_nano - start_time_unix_nano) STORED, 
	content TEXT NOT NULL, dimension_attributes JSON, 
	CONSTRAINT spans_pk PRIMARY KEY (trace_id, span_id), 
	CONSTRAINT fk_spans_trace_id FOREIGN KEY(trace_id) REFERENCES trace_info (request_id) ON DELETE CASCADE, 
	CONSTRAINT fk_spans_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id)
);
INSERT INTO "spans" VALUES('tr-4f4abad1b1513889ef150e114db40b1c',1,'430fd706f375fce1',NULL,'answer größe 0','LLM','OK',1700000000000000000,1700000000001000000,'{"trace_id": "T0q60bFROInvFQ4RTbQLHA==", "span_id": "Qw/XBvN1/OE=", "parent_span_id": null, "name": "answer größe 0", "start_time_unix_nano": 1700000000000000000, "end_time_unix_nano": 1700000000001000000, "events": [], "status": {"code": "STATUS_CODE_OK", "message": ""}, "attributes": {"mlflow.traceRequestId": "\"tr-4f4abad1b1513889ef150e114db40b1c\"", "mlflow.spanType": "\"LLM\""}}','{"mlflow.llm.model": "gpt", "mlflow.llm.provider": "openai"}');
INSERT INTO "spans" VALUES('tr-8c9311465398d27fa380456fbba5d367',2,'79f09af5e545e43e',NULL,'answer größe 1','LLM','OK',1700000000000000001,1700000000001000001,'{"trace_id": "jJMRRlOY0n+jgEVvu6XTZw==", "span_id": "efCa9eVF5D4=", "parent_span_id": null, "name": "answer größe 1", "start_time_unix_nano": 1700000000000000001, "end_time_unix_nano": 1700000000001000001, "events": [], "status": {"code": "STATUS_CODE_OK", "message": ""}, "attributes": {"mlflow.traceRequestId": "\"tr-8c9311465398d27fa380456fbba5d367\"", "mlflow.spanType": "\"LLM\""}}','{"mlflow.llm.model": "gpt", "mlflow.llm.provider": "openai"}');
CREATE TABLE "tags" (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(8000), 
	run_uuid VARCHAR(32) NOT NULL, 
	CONSTRAINT tag_pk PRIMARY KEY ("key", run_uuid), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid)
);
INSERT INTO "tags" VALUES('mlflow.note.content','value 0','a970a3d6ed19d2b57d049d3697a604b1');
INSERT INTO "tags" VALUES('mlflow.user','value 1','4708fad4d3f431a7e50a59f642310886');
CREATE TABLE trace_info (
	request_id VARCHAR(50) NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	timestamp_ms BIGINT NOT NULL, 
	execution_time_ms BIGINT, 
	status VARCHAR(50) NOT NULL, client_request_id VARCHAR(50), request_preview VARCHAR(1000), response_preview VARCHAR(1000), 
	CONSTRAINT trace_info_pk PRIMARY KEY (request_id), 
	CONSTRAINT fk_trace_info_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id)
);
INSERT INTO "trace_info" VALUES('tr-4f4abad1b1513889ef150e114db40b1c',1,1700000000000,35,'OK','client_request_id 0','request_preview 0','response_preview 0');
INSERT INTO "trace_info" VALUES('tr-8c9311465398d27fa380456fbba5d367',2,1700000001000,1200,'ERROR',NULL,NULL,NULL);
CREATE TABLE trace_metrics (
	request_id VARCHAR(50) NOT NULL, 
	"key" VARCHAR(250) NOT NULL, 
	value FLOAT, 
	CONSTRAINT trace_metrics_pk PRIMARY KEY (request_id, "key"), 
	CONSTRAINT fk_trace_metrics_request_id FOREIGN KEY(request_id) REFERENCES trace_info (request_id) ON DELETE CASCADE
);
INSERT INTO "trace_metrics" VALUES('tr-4f4abad1b1513889ef150e114db40b1c','input_tokens',7.0);
INSERT INTO "trace_metrics" VALUES('tr-8c9311465398d27fa380456fbba5d367','key 1',1.25);
CREATE TABLE "trace_request_metadata" (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(8000), 
	request_id VARCHAR(50) NOT NULL, 
	CONSTRAINT trace_request_metadata_pk PRIMARY KEY ("key", request_id), 
	CONSTRAINT fk_trace_request_metadata_request_id FOREIGN KEY(request_id) REFERENCES trace_info (request_id) ON DELETE CASCADE
);
INSERT INTO "trace_request_metadata" VALUES('mlflow.trace_schema.version','3','tr-4f4abad1b1513889ef150e114db40b1c');
INSERT INTO "trace_request_metadata" VALUES('mlflow.trace_schema.version','3','tr-8c9311465398d27fa380456fbba5d367');
CREATE TABLE "trace_tags" (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(8000), 
	request_id VARCHAR(50) NOT NULL, 
	CONSTRAINT trace_tag_pk PRIMARY KEY ("key", request_id), 
	CONSTRAINT fk_trace_tags_request_id FOREIGN KEY(request_id) REFERENCES trace_info (request_id) ON DELETE CASCADE
);
INSERT INTO "trace_tags" VALUES('mlflow.trace.spansLocation','TRACKING_STORE','tr-4f4abad1b1513889ef150e114db40b1c');
INSERT INTO "trace_tags" VALUES('mlflow.trace.spansLocation','TRACKING_STORE','tr-8c9311465398d27fa380456fbba5d367');
CREATE TABLE webhook_events (
	webhook_id VARCHAR(256) NOT NULL, 
	entity VARCHAR(50) NOT NULL, 
	action VARCHAR(50) NOT NULL, 
	CONSTRAINT webhook_event_pk PRIMARY KEY (webhook_id, entity, action), 
	FOREIGN KEY(webhook_id) REFERENCES webhooks (webhook_id) ON DELETE cascade
);
INSERT INTO "webhook_events" VALUES('eee5e3747c9073ababfce15062162438','registered_model','created');
INSERT INTO "webhook_events" VALUES('debcbb1788466de9e8ea079b157b5ffc','prompt_version','created');
CREATE TABLE "webhooks" (
	webhook_id VARCHAR(256) NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	description VARCHAR(1000), 
	url VARCHAR(500) NOT NULL, 
	status VARCHAR(20) DEFAULT 'ACTIVE' NOT NULL, 
	secret VARCHAR(1000), 
	creation_timestamp BIGINT, 
	last_updated_timestamp BIGINT, 
	deleted_timestamp BIGINT, 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT webhook_pk PRIMARY KEY (webhook_id)
);
INSERT INTO "webhooks" VALUES('eee5e3747c9073ababfce15062162438','name 0','description 0','https://hooks.example.com/0','ACTIVE','gAAAAABrCJkgySG194rL7eGS442JnO8_A5DE_1garB1efYq33pdEIFhVRieYisJdHHBvXiaAawm1IBr6UKv2wOI7daxOvtn4D1iav2QkMTt0AAs2yv2I04E=',1700000000000,1700000000500,NULL,'default');
INSERT INTO "webhooks" VALUES('debcbb1788466de9e8ea079b157b5ffc','name 1',NULL,'https://hooks.example.com/1','DISABLED','gAAAAABrCJkgq8VJ3R1rQ6-7qJ7ahDpFPqrddJJLKiVSBgusAmDfTKaH3A3pTCxAKPn8EKzFISt6w9nVA9hGTjjdGAOyK1xP0oBL9T18UDeZGDAMuwFSAEU=',1700000001000,1700000001500,1700000001500,'default');
CREATE TABLE workspaces (
	name VARCHAR(63) NOT NULL, 
	description TEXT, 
	default_artifact_root TEXT, 
	CONSTRAINT workspaces_pk PRIMARY KEY (name)
);
INSERT INTO "workspaces" VALUES('default','Default workspace for legacy resources',NULL);
INSERT INTO "workspaces" VALUES('team-b',NULL,NULL);
CREATE INDEX index_metrics_run_uuid ON metrics (run_uuid);
CREATE INDEX index_latest_metrics_run_uuid ON latest_metrics (run_uuid);
CREATE INDEX index_inputs_destination_type_destination_id_source_type ON inputs (destination_type, destination_id, source_type);
CREATE INDEX index_inputs_input_uuid ON inputs (input_uuid);
CREATE INDEX index_params_run_uuid ON params (run_uuid);
CREATE INDEX index_trace_info_experiment_id_timestamp_ms ON trace_info (experiment_id, timestamp_ms);
CREATE INDEX index_trace_tags_request_id ON trace_tags (request_id);
CREATE INDEX index_trace_request_metadata_request_id ON trace_request_metadata (request_id);
CREATE INDEX index_tags_run_uuid ON tags (run_uuid);
CREATE INDEX index_datasets_dataset_uuid ON datasets (dataset_uuid);
CREATE INDEX index_datasets_experiment_id_dataset_source_type ON datasets (experiment_id, dataset_source_type);
CREATE INDEX index_logged_model_metrics_model_id ON logged_model_metrics (model_id);
CREATE INDEX index_assessments_trace_id_created_timestamp ON assessments (trace_id, created_timestamp);
CREATE INDEX index_assessments_run_id_created_timestamp ON assessments (run_id, created_timestamp);
CREATE INDEX index_assessments_last_updated_timestamp ON assessments (last_updated_timestamp);
CREATE INDEX index_assessments_assessment_type ON assessments (assessment_type);
CREATE INDEX index_spans_experiment_id ON spans (experiment_id);
CREATE INDEX index_spans_experiment_id_status_type ON spans (experiment_id, status, type);
CREATE INDEX index_spans_experiment_id_type_status ON spans (experiment_id, type, status);
CREATE INDEX index_spans_experiment_id_duration ON spans (experiment_id, duration_ns);
CREATE INDEX index_entity_associations_association_id ON entity_associations (association_id);
CREATE INDEX index_entity_associations_reverse_lookup ON entity_associations (destination_type, destination_id, source_type, source_id);
CREATE INDEX idx_webhook_events_entity ON webhook_events (entity);
CREATE INDEX idx_webhook_events_action ON webhook_events (action);
CREATE INDEX idx_webhook_events_entity_action ON webhook_events (entity, action);
CREATE UNIQUE INDEX index_scorers_experiment_id_scorer_name ON scorers (experiment_id, scorer_name);
CREATE INDEX index_scorer_versions_scorer_id ON scorer_versions (scorer_id);
CREATE INDEX index_evaluation_dataset_tags_dataset_id ON evaluation_dataset_tags (dataset_id);
CREATE INDEX index_evaluation_dataset_records_dataset_id ON evaluation_dataset_records (dataset_id);
CREATE INDEX index_endpoint_model_mappings_endpoint_id ON endpoint_model_mappings (endpoint_id);
CREATE INDEX index_endpoint_model_mappings_model_definition_id ON endpoint_model_mappings (model_definition_id);
CREATE INDEX index_endpoint_tags_endpoint_id ON endpoint_tags (endpoint_id);
CREATE INDEX index_trace_metrics_request_id ON trace_metrics (request_id);
CREATE UNIQUE INDEX unique_endpoint_model_linkage_mapping ON endpoint_model_mappings (endpoint_id, model_definition_id, linkage_type);
CREATE INDEX index_span_metrics_trace_id_span_id ON span_metrics (trace_id, span_id);
CREATE INDEX index_evaluation_datasets_created_time ON evaluation_datasets (created_time);
CREATE INDEX index_evaluation_datasets_name ON evaluation_datasets (name);
CREATE INDEX idx_webhooks_status ON webhooks (status);
CREATE INDEX idx_webhooks_name ON webhooks (name);
CREATE TRIGGER prevent_secrets_aad_mutation
BEFORE UPDATE ON secrets
FOR EACH ROW
WHEN OLD.secret_id != NEW.secret_id OR OLD.secret_name != NEW.secret_name
BEGIN
    SELECT RAISE(ABORT, 'secret_id and secret_name are immutable (used as AAD in encryption)');
END;
CREATE INDEX index_model_definitions_provider ON model_definitions (provider);
CREATE INDEX index_model_definitions_secret_id ON model_definitions (secret_id);
CREATE INDEX index_jobs_name_status_creation_time ON jobs (job_name, workspace, status, creation_time);
CREATE INDEX idx_experiments_workspace ON experiments (workspace);
CREATE INDEX idx_registered_models_workspace ON registered_models (workspace);
CREATE INDEX idx_experiments_workspace_creation_time ON experiments (workspace, creation_time);
CREATE INDEX idx_evaluation_datasets_workspace ON evaluation_datasets (workspace);
CREATE INDEX idx_webhooks_workspace ON webhooks (workspace);
CREATE INDEX idx_secrets_workspace ON secrets (workspace);
CREATE INDEX idx_endpoints_workspace ON endpoints (workspace);
CREATE INDEX idx_model_definitions_workspace ON model_definitions (workspace);
COMMIT;
