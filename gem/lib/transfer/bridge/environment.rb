# frozen_string_literal: true

module Transfer
  module Bridge
    # What of our environment a worker gets to see. What is not listed stays here: keys of databases, of clouds, of
    # Rails are none of its business.
    module Environment
      NAMES = %w[
        PATH HOME USER LOGNAME SHELL LANG LANGUAGE TZ TMPDIR TMP TEMP VIRTUAL_ENV LD_LIBRARY_PATH DYLD_LIBRARY_PATH
        SOURCE_DATE_EPOCH
        SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE
        HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy
        LC_* XDG_* PYTHON* TRANSFER_* TORCH_* PYTORCH_* HF_* TIMM_* CUDA_* NVIDIA_* CUDNN_* CUBLAS_* NCCL_*
        ROCR_* HIP_* HSA_* MIOPEN_* OMP_* GOMP_* KMP_* MKL_* OPENBLAS_* NUMEXPR_* VECLIB_* DNNL_* ONEDNN_* ATEN_*
        MALLOC_*
      ].freeze

      # @param also [Array<String>] more names; `MY_*` stands for all that begin so
      # @return [Hash{String => String}]
      def self.allowed(also = [], env: ENV)
        patterns = [*NAMES, *also]
        env.select { |name, _| patterns.any? { |pattern| matches?(pattern, name) } }
      end

      def self.matches?(pattern, name)
        pattern.end_with?("*") ? name.start_with?(pattern.delete_suffix("*")) : name == pattern
      end
      private_class_method :matches?
    end
  end
end
