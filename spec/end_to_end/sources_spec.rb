# frozen_string_literal: true

# The same recipe for every source of backbones. The table printed at the end has a cell for each source and use, or the
# reason why it is not possible.
RSpec.describe "Every source of backbones", :end_to_end do
  frozen = /can only be used as it is/
  sources = {
    "torchvision" => { backbone: "mobilenet_v2" },
    "timm" => { backbone: "timm/tf_efficientnet_lite0" },
    "Hugging Face, texts" => { backbone: "hf/sentence-transformers/all-MiniLM-L6-v2", data: :texts },
    "PyTorch Hub" => { backbone: "torchhub:MODELS/hub:colors", trust: true },
    "Keras" => { backbone: "MODELS/colors.keras" },
    "TensorFlow" => { backbone: "tensorflow:MODELS/saved_model", refused: frozen },
    "ONNX" => { backbone: "MODELS/colors.onnx", refused: frozen },
    "scikit-learn, pixels" => { backbone: "sklearn:pixels", refused: frozen, fitted: true },
    "scikit-learn, texts" => { backbone: "sklearn:TfidfVectorizer", data: :texts, refused: frozen, fitted: true },
    "scikit-learn, tables" => { backbone: "sklearn:ColumnTransformer", data: :table, refused: frozen, fitted: true }
  }
  ways = ["frozen", "again", "unfreeze last", "full", "save and load", "predict"]
  cells = Hash.new { |table, source| table[source] = {} }

  before(:context) do
    models = File.join(@scratch, "models")
    Dir.mkdir(models)
    script = File.expand_path("../support/sources.py", __dir__)
    raise "no models" unless system(Workers::PYTHON, script, models)

    @models = models
    @data = { photos: photo_folder(File.join(@scratch, "photos"), count: 12), texts:, table: }
  end

  after(:context) do
    rows = sources.keys.map { |source| [source, *ways.map { |way| cells[source].fetch(way, "failed") }] }
    lines = [["", *ways], *rows].map { |row| row.map { |cell| cell.ljust(22) }.join.rstrip }
    RSpec.configuration.reporter.message(["", *lines, ""].join("\n"))
  end

  def texts
    good = %w[lovely great wonderful superb]
    bad = %w[awful terrible horrible dreadful]
    { "good" => good, "bad" => bad }.flat_map do |label, words|
      words.permutation(2).map { |one, other| { input: "What a #{one} film, truly #{other}.", label: } }
    end
  end

  def table
    random = Random.new(0)
    Array.new(40) do |i|
      odd = i.odd?
      { input: { size: (odd ? 3.0 : 7.0) + random.rand, shape: odd ? "round" : "square" }, label: odd ? "a" : "b" }
    end
  end

  sources.each do |name, source|
    describe name do
      words = source.slice(:trust)
      kind = source.fetch(:data, :photos)
      phases = { "unfreeze last" => { last: 1 }, "full" => { all: true } }

      define_method(:backbone) { source[:backbone].sub("MODELS", @models) }
      define_method(:train) do |**more, &block|
        Transfer.train(backbone:, data: @data[kind], seed: 1, **words, **more, &block)
      end

      define_method(:input) do
        case kind
        when :photos then File.join(@data[:photos], "red/0.png")
        when :texts then "What a lovely film, truly great."
        else { size: 3.2, shape: "round" }
        end
      end

      define_method(:fine_tune) do |thaw|
        train do |recipe|
          recipe.freeze :backbone
          recipe.train
          recipe.unfreeze(**thaw)
          recipe.train epochs: 1, optimizer: :adamw, learning_rate: 1e-4
        end
      end

      it "trains frozen, again from the cache; predicts, is saved and loaded" do
        model = train
        cells[name]["frozen"] = "ok"
        expect(model.metrics[:accuracy]).to be > 0.7
        expect(model.labels).to include(model.predict(input).label)
        cells[name]["predict"] = "ok"

        computed = 0
        again = train(head: { type: "linear", dropout: 0.1 }, optimizer: :adam, epochs: 1,
                      on: { progress: ->(event) { computed += 1 if event.step == :freeze } })
        expect(again.metrics).to include(:accuracy)
        expect(computed).to eq(0) unless source[:fitted]
        cells[name]["again"] = source[:fitted] ? "fitted" : "ok"

        before = model.predict(input).scores
        file = model.save(File.join(@scratch, "#{name}.transfer"))
        Transfer.shutdown
        Transfer.load(file).predict(input).scores.each do |label, score|
          expect(score).to be_within(1e-5).of(before.fetch(label))
        end
        cells[name]["save and load"] = "ok"
      end

      phases.each do |way, thaw|
        if source[:refused]
          it "refuses: #{way}" do
            expect { fine_tune(thaw) }.to raise_error(Transfer::RecipeError, source[:refused])
            cells[name][way] = "frozen only"
          end
        else
          it "fine-tunes: #{way}" do
            model = fine_tune(thaw)
            expect(model.history.map { |entry| entry[:step] }).to include("fine_tune")
            expect(model.metrics[:accuracy]).to be > 0.7
            cells[name][way] = "ok"
          end
        end
      end
    end
  end
end
