# frozen_string_literal: true

module Transfer
  class Job
    # The call of the worker for a recipe: `train`, `resume`, `check` or `rank`.
    class Request
      # The words of a resumed run, which has its recipe.
      OF_RESUMED = %w[data columns split].freeze
      private_constant :OF_RESUMED

      class << self
        # @param run [String, Symbol, Pathname, Run, Job]
        # @param recipe [Recipe] data and callbacks
        # @param trust [Boolean] the caller vouches for the content of the run
        # @return [Request]
        # @raise [ArgumentError] if the recipe has other words, or the job no run yet
        def resume(run, recipe, trust:)
          unwanted = recipe.words.except(*OF_RESUMED).flat_map { |word, value| word == "train" ? value.keys : word }
          raise ArgumentError, "a resumed run has its recipe. Fix: leave out #{unwanted.join(', ')}" if unwanted.any?

          id = run.is_a?(Job) ? run.run_id : run
          raise ArgumentError, "this job has no run yet, so there is nothing to resume" if id.nil?

          # The worker runs in another directory, so it gets absolute paths.
          id = id.to_s.include?("/") ? Input.path(id.to_s) : Plain.text(id.to_s)
          new("resume", recipe, { "run" => id, "trust" => trust, **recipe.cluster })
        end
      end

      # @return [String] of the protocol
      attr_reader :method
      # @return [Recipe]
      attr_reader :recipe

      # @param method [String]
      # @param recipe [Recipe]
      # @param run [Hash{String => Object}, nil] the run to resume
      # @param options [Hash{String => Object}] parameters beside the recipe
      def initialize(method, recipe, run = nil, options: {})
        @method = method
        @recipe = recipe
        @run = run
        @options = options
      end

      # @return [String, nil] the id or directory of the run to resume
      def run_id = @run&.fetch("run")

      # @return [Array(Hash{String => Object}, Hash{String => Source::RowStream})] parameters, and the streams of rows
      def prepare
        sources = domains.transform_values { |data, options| Source.new(data, columns:, **options) }
        data = sources.transform_values(&:wire).compact
        params = @run ? { **@run, **data } : { "recipe" => { **recipe.wire, **data }, **@options }
        [params, sources.values.map(&:streams).reduce({}, :merge)]
      end

      private

      # The data of each domain, and how its rows are read: beside a source, rows of the target may lack a label.
      def domains
        labelled = !recipe.domains.key?("source")
        others = recipe.domains.to_h { |word, data| [word, [data, { labelled: word == "source" }]] }
        { "data" => [recipe.data, { group: grouping, labelled: }], **others }
      end

      def columns = recipe.words["columns"]

      # The name of the rows' groups, and the block that returns them or nil.
      def grouping
        split = recipe.words["split"]
        [split["group"], recipe.group] if split.is_a?(Hash) && split["group"]
      end
    end
    private_constant :Request
  end
end
