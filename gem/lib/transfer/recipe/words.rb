# frozen_string_literal: true

require_relative "augmentations"

module Transfer
  class Recipe
    # The vocabulary of a block, a class body and keywords, without the steps. Each method writes its word into the
    # draft. Values are passed on unchanged: the training core validates them.
    module Words
      # @!method backbone(name)
      #   The pretrained network: `backbone "mobilenet_v2"`; `:auto` searches it, and the rest of the recipe.
      # @!method weights(name)
      #   `:pretrained` (default), `:random`, the name of a published file, or a path.
      # @!method trust(allowed)
      #   `true` allows code to run that comes with the backbone; default false.
      # @!method task(name)
      #   `:auto` (default), `:classification`, `:multi_label`, `:regression`, `:detection`, `:translation` or
      #   `:text_to_text`.
      # @!method image_size(pixels)
      #   Side of the network's square inputs for detection: a multiple of 32; default 320.
      # @!method seed(number)
      #   Everything random starts from it; default 0.
      # @!method device(name)
      #   `:auto` (default), `:cpu`, `:cuda`, `:mps` …
      # @!method precision(name)
      #   `:auto` (default), `:float32`, `:bfloat16` or `:float16`.
      # @!method processes(count)
      #   Processes of this machine that share each batch of fine-tuning, one per GPU; default 1.
      # @!method preset(name)
      #   `:fast` (default), `:balanced` or `:best`: defaults of all other options.
      # @!method budget(seconds)
      #   With `backbone :auto`: time for the search of the best recipe; default 600.
      # @!method engine(address)
      #   `"ray://head:8265"`: trains on this Ray cluster; default {Configuration#engine}. `:local`: on this machine.
      # @!method storage(place)
      #   What the nodes of the cluster share: a directory, or a URL; default {Configuration#storage}.
      # @!method on_bad_input(name)
      #   `:raise` (default) or `:skip`.
      # @!method keep_examples(kept)
      #   `false`: neither the model file nor the report of a training contain inputs; default true.
      # @!method corrections(path)
      #   A CSV that {AuditReport#save} wrote, corrected: relabels and leaves out examples of `data`.
      %w[backbone weights trust task image_size seed device precision processes preset budget engine storage
         on_bad_input corrections keep_examples].each do |word|
        define_method(word) { |value| draft.set(word, value) }
      end

      # @param source [String, Pathname, Hash, Enumerable] a folder or manifest, `{train:, valid:, test:}`, rows
      #   `{input:, label:}`, or a relation
      def data(source) = draft.source(source)

      # A saved model whose training is continued with `data`: new examples and classes beside those that it stores.
      # @param model [Model, String, Pathname] a model, or the path of a `.transfer` file
      def from(model) = draft.set("from", model.is_a?(Model) ? model.path : model)

      # A labelled source domain; `data` is then the target domain, whose labels may be missing.
      # @param source [String, Pathname, Enumerable] a folder or manifest, or rows `{input:, label:}`
      def source(source) = draft.domain("source", source)

      # More inputs of the target domain, without labels.
      # @param source [String, Pathname, Enumerable] a folder or manifest, or rows `{input:}`
      def unlabelled(source) = draft.domain("unlabelled", source)

      # Labels of the source by names of the target: `map_labels "feline" => "cat"`.
      # @param names [Hash{String => String}, LabelMap]
      def map_labels(names) = draft.set("map_labels", names.respond_to?(:names) ? names.names : names)

      # Brings source and target together: `adapt :coral`, `adapt :tca, components: 40`, `adapt :auto`.
      def adapt(method = nil, **options) = chosen("adapt", method, options)

      # Weights the examples of the source: `weigh :kmm`, `weigh :discriminator, limit: 5`.
      def weigh(method = nil, **options) = chosen("weigh", method, options)

      # Trains with a teacher: `distill from: "large.transfer", relation: [:kd, :rkd], temperature: 2, strength: 0.5`.
      # @param options [Hash{Symbol => Object}, String, Model] `from:` a saved model, its path or the name of a backbone
      def distill(value = nil, **options)
        teacher = value.is_a?(Hash) ? value : { from: value, **options }.compact
        teacher = teacher.transform_keys(&:to_sym)
        teacher[:from] = teacher[:from].path.to_s if teacher[:from].respond_to?(:path)
        draft.set("distill", teacher)
      end

      # Keeps fine-tuned weights near the published ones: `regularize :l2_sp, alpha: 0.1`, `regularize :wise_ft`.
      def regularize(type = nil, **options) = draft.set("regularize", type ? { type:, **options } : options)

      # The blocks that keep their published weights; the others start from random ones: `reuse first: 10`.
      def reuse(value = nil, **options) = draft.set("reuse", value.nil? ? options : value)

      # The next five also take one value, as a keyword has it, whatever it is.

      # The names of a manifest's columns: `columns input: "file", target: "species", group: "camera"`.
      def columns(value = nil, **names) = draft.set("columns", value.nil? ? names : value)

      # How long texts are read: `text max_length: 128, long: :window`.
      def text(value = nil, **options) = draft.set("text", value.nil? ? options : value)

      # Languages of a translation, by the codes of the backbone: `languages source: "en", target: "de"`.
      def languages(value = nil, **codes) = draft.set("languages", value.nil? ? codes : value)

      # How texts are generated: `generation beams: 4, length_penalty: 1.0, max_length: 200, no_repeat: 3`.
      def generation(value = nil, **options) = draft.set("generation", value.nil? ? options : value)

      # How much is held out, and what stays on one side: `split test: 0.2, valid: 0.15, group: "patient"`.
      # @yieldparam row [Object] a row of the data, if it is an Enumerable: `split { |row| row.patient_id }`
      # @yieldreturn [String, Symbol, Numeric, nil] its group, which stays on one side; nil: the row is in none
      def split(value = nil, **options, &group) = draft.split(value.nil? ? options : value, group)

      # Augmentations of training images, in their order: `augment :flip, :crop, rotate: { degrees: 10 }`.
      def augment(*names, **with_options)
        draft.append("augment", [*names, with_options].flat_map { |what| augmentations(what) })
      end

      # `head :linear, dropout: 0.2`.
      def head(type = nil, **options)
        draft.set("head", type ? { type:, **options } : options)
      end

      # The steps of a class, in their order: `steps do freeze :backbone; train epochs: 5 end`. The first steps of a
      # subclass replace those it inherits.
      # @yield the words `freeze`, `unfreeze`, `finetune` and `train`; with an argument the block keeps its own `self`
      def steps(&block)
        raise ArgumentError, "steps takes a block: steps do freeze :backbone; train epochs: 5 end" unless block

        StepBlock.new(draft, StepWords::NAMES).read(block)
      end

      # Calls the block with each event of that name: `:run`, `:stage`, `:progress`, `:epoch` or `:warning`.
      def on(event, &block)
        raise ArgumentError, "on(:#{event}) needs a block" unless block

        draft.listen(event, block)
      end

      private

      def chosen(word, method, options) = draft.set(word, method ? { method:, **options } : options)

      def augmentations(what)
        Augmentations.list(what)
      rescue ArgumentError => error
        draft.reject("augment", error.message)
      end
    end
    private_constant :Words
  end
end
