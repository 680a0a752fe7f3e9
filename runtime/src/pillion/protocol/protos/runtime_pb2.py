"""Generated from pillion/protocol/protos/runtime.proto by scripts/generate_protos.py. Do not edit."""

from google.protobuf import descriptor_pool, message_factory, struct_pb2, timestamp_pb2
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

POOL = descriptor_pool.DescriptorPool()
POOL.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
POOL.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
POOL.AddSerializedFile(
    b'\n%pillion/protocol/protos/runtime.proto\x12\x0fpillion.runtime\x1a\x1cgoogle/protobuf/struct'
    b'.proto\x1a\x1fgoogle/protobuf/timestamp.proto"\xe5\x05\n\x03Job\x12#\n\rprediction_id\x18\x01 \x01(\tR\x0cpredicti'
    b'onId\x12\x19\n\x08model_id\x18\x02 \x01(\tR\x07modelId\x12\x1f\n\x0btraining_id\x18\x03 \x01(\tR\ntrainingId\x12\x1d\n\nmodel_name\x18\x04'
    b' \x01(\tR\tmodelName\x12\x12\n\x04kind\x18\x05 \x01(\tR\x04kind\x12\x12\n\x04task\x18\x06 \x01(\tR\x04task\x12/\n\x05state\x18\x07 \x01(\x0e2\x19.pillion'
    b'.runtime.JobStateR\x05state\x12M\n\x14submission_timestamp\x18\x08 \x01(\x0b2\x1a.google.protobuf.Timesta'
    b'mpR\x13submissionTimestamp\x12C\n\x0fstart_timestamp\x18\t \x01(\x0b2\x1a.google.protobuf.TimestampR\x0est'
    b'artTimestamp\x12M\n\x14completion_timestamp\x18\n \x01(\x0b2\x1a.google.protobuf.TimestampR\x13completi'
    b'onTimestamp\x12\x18\n\x07reasons\x18\x0b \x03(\tR\x07reasons\x12\x1f\n\x08progress\x18\x0c \x01(\x01H\x00R\x08progress\x88\x01\x01\x12\x1a\n\x08attemp'
    b'ts\x18\r \x01(\x05R\x08attempts\x12\x1a\n\x08priority\x18\x0e \x01(\x05R\x08priority\x12)\n\x10cancel_requested\x18\x0f \x01(\x08R\x0fcancel'
    b'Requested\x12;\n\x07details\x18\x10 \x03(\x0b2!.pillion.runtime.Job.DetailsEntryR\x07details\x1a:\n\x0cDetail'
    b'sEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12\x14\n\x05value\x18\x02 \x01(\tR\x05value:\x028\x01B\x0b\n\t_progress"V\n\x10SubmitJobRequ'
    b'est\x12\x12\n\x04task\x18\x01 \x01(\tR\x04task\x12\x12\n\x04body\x18\x02 \x01(\x0cR\x04body\x12\x1a\n\x08priority\x18\x03 \x01(\x05R\x08priority"1\n\nJobRe'
    b'quest\x12#\n\rprediction_id\x18\x01 \x01(\tR\x0cpredictionId"\x95\x02\n\x0fListJobsRequest\x12/\n\x05state\x18\x01 \x03(\x0e2\x19.'
    b'pillion.runtime.JobStateR\x05state\x12\x19\n\x08model_id\x18\x02 \x01(\tR\x07modelId\x12\x12\n\x04task\x18\x03 \x01(\tR\x04task\x120'
    b'\n\x05since\x18\x04 \x01(\x0b2\x1a.google.protobuf.TimestampR\x05since\x120\n\x05until\x18\x05 \x01(\x0b2\x1a.google.protobu'
    b'f.TimestampR\x05until\x12\x14\n\x05limit\x18\x06 \x01(\x05R\x05limit\x12\x14\n\x05after\x18\x07 \x01(\tR\x05after\x12\x12\n\x04kind\x18\x08 \x01(\tR\x04ki'
    b'nd"G\n\x07JobPage\x12(\n\x04jobs\x18\x01 \x03(\x0b2\x14.pillion.runtime.JobR\x04jobs\x12\x12\n\x04next\x18\x02 \x01(\tR\x04next"\xc3\x01\n\t'
    b'JobResult\x12\x18\n\x07content\x18\x01 \x01(\x0cR\x07content\x12\x1d\n\nmedia_type\x18\x02 \x01(\tR\tmediaType\x12A\n\x07headers\x18\x03 '
    b"\x03(\x0b2'.pillion.runtime.JobResult.HeadersEntryR\x07headers\x1a:\n\x0cHeadersEntry\x12\x10\n\x03key\x18\x01 \x01"
    b'(\tR\x03key\x12\x14\n\x05value\x18\x02 \x01(\tR\x05value:\x028\x01"\xdf\x01\n\x14StartTrainingRequest\x12\x1a\n\x08training\x18\x01 \x01(\tR\x08tr'
    b'aining\x12\x1d\n\nmodel_name\x18\x02 \x01(\tR\tmodelName\x12\x1f\n\x0boutput_path\x18\x03 \x01(\tR\noutputPath\x12\x16\n\x06deploy'
    b'\x18\x04 \x01(\x08R\x06deploy\x127\n\nparameters\x18\x05 \x01(\x0b2\x17.google.protobuf.StructR\nparameters\x12\x1a\n\x08prior'
    b'ity\x18\x06 \x01(\x05R\x08priority"2\n\x0fTrainingRequest\x12\x1f\n\x0btraining_id\x18\x01 \x01(\tR\ntrainingId"\xd6\x01\n\x15Foll'
    b'owTrainingRequest\x12\x1f\n\x0btraining_id\x18\x01 \x01(\tR\ntrainingId\x12?\n\x04what\x18\x02 \x01(\x0e2+.pillion.runti'
    b'me.FollowTrainingRequest.WhatR\x04what\x12\x14\n\x05after\x18\x03 \x01(\x03R\x05after\x12&\n\x0fstop_at_present\x18\x04 \x01'
    b'(\x08R\rstopAtPresent"\x1d\n\x04What\x12\x08\n\x04LOGS\x10\x00\x12\x0b\n\x07METRICS\x10\x01"\xa0\x01\n\rTrainingEvent\x12\x14\n\x05place\x18\x01 \x01('
    b'\x03R\x05place\x12\x12\n\x03log\x18\x02 \x01(\tH\x00R\x03log\x123\n\x07metrics\x18\x03 \x01(\x0b2\x17.google.protobuf.StructH\x00R\x07metric'
    b's\x12(\n\x03job\x18\x04 \x01(\x0b2\x14.pillion.runtime.JobH\x00R\x03jobB\x06\n\x04what"\x14\n\x12RuntimeInfoRequest"\xfb\x01\n\x0bRu'
    b"ntimeInfo\x12'\n\x0fruntime_version\x18\x01 \x01(\tR\x0eruntimeVersion\x12%\n\x0epython_version\x18\x02 \x01(\tR\rpyth"
    b'onVersion\x12Y\n\x0fpython_packages\x18\x03 \x03(\x0b20.pillion.runtime.RuntimeInfo.PythonPackagesE'
    b'ntryR\x0epythonPackages\x1aA\n\x13PythonPackagesEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12\x14\n\x05value\x18\x02 \x01(\tR\x05va'
    b'lue:\x028\x01"0\n\x11ModelsInfoRequest\x12\x1b\n\tmodel_ids\x18\x01 \x03(\tR\x08modelIds"@\n\nModelsInfo\x122\n\x06model'
    b's\x18\x01 \x03(\x0b2\x1a.pillion.runtime.ModelInfoR\x06models"\xf6\x02\n\tModelInfo\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12\x1d\n'
    b'\nmodel_path\x18\x02 \x01(\tR\tmodelPath\x12\x12\n\x04size\x18\x03 \x01(\x03R\x04size\x123\n\x08metadata\x18\x04 \x01(\x0b2\x17.google.prot'
    b'obuf.StructR\x08metadata\x12\x16\n\x06loaded\x18\x05 \x01(\x08R\x06loaded\x12\x1b\n\tmodule_id\x18\x06 \x01(\tR\x08moduleId\x12@\n\x0fmo'
    b'dule_metadata\x18\x07 \x01(\x0b2\x17.google.protobuf.StructR\x0emoduleMetadata\x12\x18\n\x07version\x18\x08 \x01(\tR\x07v'
    b'ersion\x12\x14\n\x05state\x18\t \x01(\tR\x05state\x12\x16\n\x06reason\x18\n \x01(\tR\x06reason\x12.\n\x04time\x18\x0b \x01(\x0b2\x1a.google.prot'
    b'obuf.TimestampR\x04time";\n\tModelFile\x12\x1a\n\x08filename\x18\x01 \x01(\tR\x08filename\x12\x12\n\x04data\x18\x02 \x01(\x0cR\x04dat'
    b'a"\xd2\x02\n\x12DeployModelRequest\x12\x19\n\x08model_id\x18\x01 \x01(\tR\x07modelId\x12;\n\x0bmodel_files\x18\x02 \x03(\x0b2\x1a.pilli'
    b'on.runtime.ModelFileR\nmodelFiles\x12$\n\x0bstorage_uri\x18\x03 \x01(\tH\x00R\nstorageUri\x88\x01\x01\x12\x1b\n\x06digest'
    b'\x18\x04 \x01(\tH\x01R\x06digest\x88\x01\x01\x12\x1d\n\x07version\x18\x05 \x01(\tH\x02R\x07version\x88\x01\x01\x123\n\x08metadata\x18\x06 \x01(\x0b2\x17.google.pr'
    b'otobuf.StructR\x08metadata\x12\x1b\n\x06format\x18\x07 \x01(\tH\x03R\x06format\x88\x01\x01B\x0e\n\x0c_storage_uriB\t\n\x07_digestB'
    b'\n\n\x08_versionB\t\n\x07_format"\x9b\x01\n\x12UploadModelRequest\x124\n\x05begin\x18\x01 \x01(\x0b2\x1c.pillion.runtime.U'
    b'ploadBeginH\x00R\x05begin\x121\n\x04file\x18\x02 \x01(\x0b2\x1b.pillion.runtime.UploadFileH\x00R\x04file\x12\x14\n\x04data\x18\x03'
    b' \x01(\x0cH\x00R\x04dataB\x06\n\x04part"\x85\x01\n\x0bUploadBegin\x12\x19\n\x08model_id\x18\x01 \x01(\tR\x07modelId\x123\n\x08metadata\x18\x02 \x01('
    b'\x0b2\x17.google.protobuf.StructR\x08metadata\x12\x1b\n\x06format\x18\x03 \x01(\tH\x00R\x06format\x88\x01\x01B\t\n\x07_format"J\n\n'
    b'UploadFile\x12\x1a\n\x08filename\x18\x01 \x01(\tR\x08filename\x12\x17\n\x04size\x18\x02 \x01(\x03H\x00R\x04size\x88\x01\x01B\x07\n\x05_size"G\n\x14Unde'
    b'ployModelRequest\x12\x19\n\x08model_id\x18\x01 \x01(\tR\x07modelId\x12\x14\n\x05purge\x18\x02 \x01(\x08R\x05purge"2\n\x15UndeployMod'
    b'elResponse\x12\x19\n\x08model_id\x18\x01 \x01(\tR\x07modelId")\n\x0cModelRequest\x12\x19\n\x08model_id\x18\x01 \x01(\tR\x07modelId'
    b'"\xa1\x01\n\x07Aliases\x12\x19\n\x08model_id\x18\x01 \x01(\tR\x07modelId\x12?\n\x07aliases\x18\x02 \x03(\x0b2%.pillion.runtime.Alias'
    b'es.AliasesEntryR\x07aliases\x1a:\n\x0cAliasesEntry\x12\x10\n\x03key\x18\x01 \x01(\tR\x03key\x12\x14\n\x05value\x18\x02 \x01(\tR\x05value'
    b':\x028\x01"\\\n\x0fSetAliasRequest\x12\x19\n\x08model_id\x18\x01 \x01(\tR\x07modelId\x12\x14\n\x05alias\x18\x02 \x01(\tR\x05alias\x12\x18\n\x07vers'
    b'ion\x18\x03 \x01(\tR\x07version"E\n\x12RemoveAliasRequest\x12\x19\n\x08model_id\x18\x01 \x01(\tR\x07modelId\x12\x14\n\x05alias\x18\x02 \x01'
    b'(\tR\x05alias*h\n\x08JobState\x12\x19\n\x15JOB_STATE_UNSPECIFIED\x10\x00\x12\n\n\x06QUEUED\x10\x01\x12\x0b\n\x07RUNNING\x10\x02\x12\r\n\tCOM'
    b'PLETED\x10\x03\x12\x0c\n\x08CANCELED\x10\x04\x12\x0b\n\x07ERRORED\x10\x052\xa4\x03\n\nJobService\x12D\n\tSubmitJob\x12!.pillion.runtim'
    b'e.SubmitJobRequest\x1a\x14.pillion.runtime.Job\x12;\n\x06GetJob\x12\x1b.pillion.runtime.JobRequest\x1a'
    b'\x14.pillion.runtime.Job\x12F\n\x08ListJobs\x12 .pillion.runtime.ListJobsRequest\x1a\x18.pillion.ru'
    b'ntime.JobPage\x12>\n\tCancelJob\x12\x1b.pillion.runtime.JobRequest\x1a\x14.pillion.runtime.Job\x12I\n'
    b'\x0cGetJobResult\x12\x1b.pillion.runtime.JobRequest\x1a\x1a.pillion.runtime.JobResult0\x01\x12@\n\tFoll'
    b'owJob\x12\x1b.pillion.runtime.JobRequest\x1a\x14.pillion.runtime.Job0\x012\xa2\x03\n\x12TrainingManagemen'
    b't\x12L\n\rStartTraining\x12%.pillion.runtime.StartTrainingRequest\x1a\x14.pillion.runtime.Job\x12'
    b'K\n\x11GetTrainingStatus\x12 .pillion.runtime.TrainingRequest\x1a\x14.pillion.runtime.Job\x12K\n\r'
    b'ListTrainings\x12 .pillion.runtime.ListJobsRequest\x1a\x18.pillion.runtime.JobPage\x12H\n\x0eCan'
    b'celTraining\x12 .pillion.runtime.TrainingRequest\x1a\x14.pillion.runtime.Job\x12Z\n\x0eFollowTra'
    b'ining\x12&.pillion.runtime.FollowTrainingRequest\x1a\x1e.pillion.runtime.TrainingEvent0\x012'
    b'\xb4\x01\n\x0bInfoService\x12S\n\x0eGetRuntimeInfo\x12#.pillion.runtime.RuntimeInfoRequest\x1a\x1c.pillion'
    b'.runtime.RuntimeInfo\x12P\n\rGetModelsInfo\x12".pillion.runtime.ModelsInfoRequest\x1a\x1b.pill'
    b'ion.runtime.ModelsInfo2\x88\x05\n\x0fModelManagement\x12N\n\x0bDeployModel\x12#.pillion.runtime.Depl'
    b'oyModelRequest\x1a\x1a.pillion.runtime.ModelInfo\x12P\n\x0bUploadModel\x12#.pillion.runtime.Uplo'
    b'adModelRequest\x1a\x1a.pillion.runtime.ModelInfo(\x01\x12^\n\rUndeployModel\x12%.pillion.runtime.'
    b'UndeployModelRequest\x1a&.pillion.runtime.UndeployModelResponse\x12F\n\x08GetModel\x12\x1d.pilli'
    b'on.runtime.ModelRequest\x1a\x1b.pillion.runtime.ModelsInfo\x12M\n\nListModels\x12".pillion.run'
    b'time.ModelsInfoRequest\x1a\x1b.pillion.runtime.ModelsInfo\x12F\n\x0bListAliases\x12\x1d.pillion.run'
    b'time.ModelRequest\x1a\x18.pillion.runtime.Aliases\x12F\n\x08SetAlias\x12 .pillion.runtime.SetAli'
    b'asRequest\x1a\x18.pillion.runtime.Aliases\x12L\n\x0bRemoveAlias\x12#.pillion.runtime.RemoveAlias'
    b'Request\x1a\x18.pillion.runtime.Aliasesb\x06proto3'
)
DESCRIPTOR = POOL.FindFileByName("pillion/protocol/protos/runtime.proto")
for _name, _message in DESCRIPTOR.message_types_by_name.items():
    globals()[_name] = message_factory.GetMessageClass(_message)
for _name, _enum in DESCRIPTOR.enum_types_by_name.items():
    globals()[_name] = EnumTypeWrapper(_enum)
    globals().update({_value.name: _value.number for _value in _enum.values})
