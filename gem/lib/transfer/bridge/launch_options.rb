# frozen_string_literal: true

module Transfer
  module Bridge
    # How a worker is started and how long it is kept.
    #
    # @!attribute [r] process
    #   @return [#call] makes the {WorkerProcess} from these options, the files of shared memory, and a block that
    #     returns true if the start is not needed any more
    class LaunchOptions < ::Data.define(:command, :env, :startup_timeout, :limits, :logger, :trace, :process)
      # @return [LaunchOptions] of a local worker, from the settings
      def self.configured(config = Transfer.config)
        new(command: [*Python.command, "-m", "transfer_core.worker"], env: Environment.configured(config),
            startup_timeout: config.startup_timeout, limits: Limits.configured(config), logger: config.logger,
            trace: (Connection::Trace.new(config.logger) if config.debug))
      end

      def initialize(command:, **options)
        super(command:, **{ env: ENV.to_h, startup_timeout: 60, limits: Limits.new, logger: nil, trace: nil,
                            process: WorkerProcess::Local.method(:new), **options })
      end

      def program = command.first

      # @param output [IO] for standard output and standard error
      # @param inherited [Array<IO>] open in the process under the same numbers
      # @return [Integer] pid
      # @raise [SystemCallError] if it can't be started
      def spawn(*arguments, output:, inherited:)
        Process.spawn(env, [program, program], *command.drop(1), *arguments,
                      unsetenv_others: true, close_others: true, in: File::NULL, %i[out err] => output,
                      **inherited.to_h { |io| [io, io] })
      end

      # When a worker is replaced: seconds idle, seconds alive, number of calls, bytes of memory. nil: no limit.
      class Limits < ::Data.define(:idle_stop, :max_lifetime, :max_requests, :max_memory)
        # Resolution of the limits in seconds.
        MIN_INTERVAL_S = 0.05
        MEMORY_INTERVAL_S = 1
        # A new worker is not replaced before the call that it was started for can have arrived.
        FIRST_CALL_S = 1
        private_constant :MIN_INTERVAL_S, :MEMORY_INTERVAL_S, :FIRST_CALL_S

        # @return [Limits] from the settings
        def self.configured(config) = new(**members.to_h { |name| [name, config.public_send(name)] })

        def initialize(idle_stop: nil, max_lifetime: nil, max_requests: nil, max_memory: nil) = super

        # @param idle_s [Float] seconds since the last response, 0 while calls are in flight
        # @param age_s [Float] seconds since the start
        # @param requests [Integer] calls so far
        # @param pid [Integer, nil]
        # @return [String, nil] the exceeded limit
        def exceeded(idle_s:, age_s:, requests:, pid:)
          excess(idle_s, age_s, requests, pid) unless requests.zero? && idle_s < FIRST_CALL_S
        end

        # @return [Numeric, nil] seconds until the next check
        def interval(idle_s:, age_s:)
          seconds = [idle_stop && (idle_stop - idle_s), max_lifetime && (max_lifetime - age_s)].compact
          seconds = seconds.map { |each| [each, MIN_INTERVAL_S].max }
          [*seconds, (MEMORY_INTERVAL_S if max_memory)].compact.min
        end

        private

        def excess(idle_s, age_s, requests, pid)
          return "idle for #{idle_s.round} s" if idle_stop && idle_s >= idle_stop
          return "older than #{max_lifetime} s" if max_lifetime && age_s >= max_lifetime
          return "#{requests} calls" if max_requests && requests >= max_requests

          memory_exceeded(pid) if max_memory && pid
        end

        def memory_exceeded(pid)
          memory = WorkerProcess.resident_memory(pid)
          "#{memory} bytes of memory" if memory && memory > max_memory
        end
      end

      # The worker's environment variables: those on this list, and no others. There are no patterns, which a new secret
      # of some library could match. A URL is passed without user name and password.
      module Environment
        NAMES = %w[
          PATH HOME USER LOGNAME SHELL TZ TMPDIR TMP TEMP VIRTUAL_ENV LD_LIBRARY_PATH DYLD_LIBRARY_PATH
          SOURCE_DATE_EPOCH LANG LANGUAGE LC_ALL LC_ADDRESS LC_COLLATE LC_CTYPE LC_IDENTIFICATION LC_MEASUREMENT
          LC_MESSAGES LC_MONETARY LC_NAME LC_NUMERIC LC_PAPER LC_TELEPHONE LC_TIME XDG_CACHE_HOME XDG_CONFIG_HOME
          XDG_DATA_HOME XDG_RUNTIME_DIR XDG_STATE_HOME SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE
          HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy

          PYTHONHOME PYTHONPATH PYTHONUSERBASE PYTHONNOUSERSITE PYTHONSAFEPATH PYTHONPYCACHEPREFIX
          PYTHONDONTWRITEBYTECODE PYTHONHASHSEED PYTHONUTF8 PYTHONIOENCODING PYTHONCOERCECLOCALE PYTHONUNBUFFERED
          PYTHONWARNINGS PYTHONOPTIMIZE PYTHONDEVMODE PYTHONFAULTHANDLER PYTHONMALLOC PYTHONTRACEMALLOC
          PYTHONINTMAXSTRDIGITS PYTHONTZPATH

          TRANSFER_WEIGHTS TRANSFER_CACHE_LIMIT RAY_AUTH_MODE RAY_AUTH_TOKEN RAY_AUTH_TOKEN_PATH

          TORCH_HOME TORCH_EXTENSIONS_DIR TORCH_LOGS TORCH_SHOW_CPP_STACKTRACES TORCH_CPP_LOG_LEVEL TORCH_CUDA_ARCH_LIST
          TORCH_ALLOW_TF32_CUBLAS_OVERRIDE TORCH_CUDNN_V8_API_DISABLED TORCH_USE_CUDA_DSA PYTORCH_ALLOC_CONF
          PYTORCH_CUDA_ALLOC_CONF PYTORCH_HIP_ALLOC_CONF PYTORCH_NO_CUDA_MEMORY_CACHING PYTORCH_NVML_BASED_CUDA_CHECK
          PYTORCH_ENABLE_MPS_FALLBACK PYTORCH_MPS_HIGH_WATERMARK_RATIO PYTORCH_MPS_LOW_WATERMARK_RATIO
          PYTORCH_MPS_FAST_MATH PYTORCH_MPS_PREFER_METAL PYTORCH_JIT ATEN_CPU_CAPABILITY TIMM_FUSED_ATTN TFHUB_CACHE_DIR
          KERAS_HOME HF_HOME HF_HUB_CACHE HF_ENDPOINT HF_HUB_OFFLINE HF_HUB_DISABLE_TELEMETRY
          HF_HUB_DISABLE_PROGRESS_BARS HF_HUB_DOWNLOAD_TIMEOUT HF_HUB_ETAG_TIMEOUT TRANSFORMERS_OFFLINE
          TOKENIZERS_PARALLELISM

          CUDA_HOME CUDA_PATH CUDA_VISIBLE_DEVICES CUDA_DEVICE_ORDER CUDA_LAUNCH_BLOCKING CUDA_MODULE_LOADING
          CUDA_CACHE_PATH CUDA_CACHE_DISABLE CUDA_CACHE_MAXSIZE CUDA_DEVICE_MAX_CONNECTIONS CUDA_MPS_PIPE_DIRECTORY
          CUDA_MPS_LOG_DIRECTORY CUDA_MPS_ACTIVE_THREAD_PERCENTAGE CUBLAS_WORKSPACE_CONFIG NVIDIA_VISIBLE_DEVICES
          NVIDIA_DRIVER_CAPABILITIES NVIDIA_TF32_OVERRIDE NCCL_DEBUG NCCL_SOCKET_IFNAME NCCL_P2P_DISABLE NCCL_IB_DISABLE
          ROCR_VISIBLE_DEVICES HIP_VISIBLE_DEVICES HSA_OVERRIDE_GFX_VERSION MIOPEN_USER_DB_PATH MIOPEN_FIND_MODE
          MIOPEN_CUSTOM_CACHE_DIR

          OMP_NUM_THREADS OMP_WAIT_POLICY OMP_PROC_BIND OMP_PLACES OMP_DYNAMIC OMP_SCHEDULE OMP_STACKSIZE
          OMP_THREAD_LIMIT OMP_MAX_ACTIVE_LEVELS OMP_DISPLAY_ENV GOMP_CPU_AFFINITY GOMP_SPINCOUNT GOMP_STACKSIZE
          KMP_AFFINITY KMP_BLOCKTIME KMP_DUPLICATE_LIB_OK KMP_INIT_AT_FORK KMP_SETTINGS KMP_STACKSIZE MKL_NUM_THREADS
          MKL_DYNAMIC MKL_CBWR MKL_VERBOSE MKL_ENABLE_INSTRUCTIONS MKL_THREADING_LAYER MKL_SERVICE_FORCE_INTEL
          OPENBLAS_NUM_THREADS OPENBLAS_CORETYPE OPENBLAS_MAIN_FREE OPENBLAS_VERBOSE NUMEXPR_NUM_THREADS
          NUMEXPR_MAX_THREADS VECLIB_MAXIMUM_THREADS DNNL_VERBOSE DNNL_MAX_CPU_ISA DNNL_PRIMITIVE_CACHE_CAPACITY
          ONEDNN_VERBOSE ONEDNN_MAX_CPU_ISA ONEDNN_DEFAULT_FPMATH_MODE ONEDNN_PRIMITIVE_CACHE_CAPACITY MALLOC_ARENA_MAX
          MALLOC_TRIM_THRESHOLD_ MALLOC_MMAP_THRESHOLD_ MALLOC_MMAP_MAX_ MALLOC_TOP_PAD_ MALLOC_PERTURB_ MALLOC_CONF
        ].freeze
        # Everything before an @: a user name and a password, possibly with characters that should have been encoded.
        CREDENTIALS = %r{\A([a-z][a-z0-9+.-]*://)?.*@}im
        URLS = %w[HTTP_PROXY HTTPS_PROXY ALL_PROXY http_proxy https_proxy all_proxy HF_ENDPOINT].freeze
        private_constant :CREDENTIALS, :URLS

        class << self
          # @return [Hash{String => String}] inherited variables, and the settings
          def configured(config)
            # The core that belongs to this gem takes precedence over an installed one.
            path = [File.join(Python::ROOT, "python"), ENV.fetch("PYTHONPATH", "")].reject(&:empty?)
            settings = { "PYTHONPATH" => path.join(File::PATH_SEPARATOR), "TRANSFER_HOME" => config.home,
                         "TRANSFER_OFFLINE" => ("1" if config.offline), **config.for_worker }
            allowed(config.environment).merge(settings).compact
          end

          private

          # @param additional [Array<String>] names of variables that are passed unchanged
          def allowed(additional)
            listed = ENV.slice(*NAMES).to_h { |name, value| [name, without_credentials(name, value)] }
            listed.merge(ENV.slice(*additional))
          end

          def without_credentials(name, value) = URLS.include?(name) ? value.sub(CREDENTIALS, '\1') : value
        end
      end
    end
  end
end
