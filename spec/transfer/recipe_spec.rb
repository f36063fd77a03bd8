# frozen_string_literal: true

RSpec.describe Transfer::Recipe do
  def build(**words, &) = described_class.build(words, &)

  # The words that the three spellings below write.
  let(:words) do
    {
      data: "photos/", backbone: "mobilenet_v2", weights: "IMAGENET1K_V1", task: "classification",
      columns: { input: "file", target: %w[a b] }, split: { test: 0.2, valid: 0.1 },
      on_bad_input: "skip", augment: ["flip", "crop", { type: "rotate", degrees: 10 }],
      head: { type: "mlp", hidden: [64, 32], dropout: 0.2 },
      steps: [
        { type: "freeze" }, { type: "unfreeze", last: 3 }
      ],
      seed: 7, device: "cpu", precision: "float32", processes: 2, preset: "best"
    }
  end

  let(:keywords) do
    build(
      data: "photos/", backbone: :mobilenet_v2, weights: "IMAGENET1K_V1", task: :classification,
      columns: { input: :file, target: %i[a b] }, split: { test: 0.2, valid: 0.1 }, on_bad_input: :skip,
      augment: [:flip, :crop, { rotate: { degrees: 10 } }], head: { type: :mlp, hidden: [64, 32], dropout: 0.2 },
      freeze: :backbone, unfreeze: { last: 3 }, seed: 7, device: :cpu, precision: :float32, processes: 2,
      preset: :best
    )
  end

  let(:block) do
    build do
      data "photos/"
      backbone "mobilenet_v2"
      weights :IMAGENET1K_V1
      task :classification
      columns input: "file", target: %w[a b]
      split test: 0.2, valid: 0.1
      on_bad_input :skip
      augment :flip, :crop, rotate: { degrees: 10 }
      head :mlp, hidden: [64, 32], dropout: 0.2
      freeze :backbone
      unfreeze last: 3
      seed 7
      device :cpu
      precision :float32
      processes 2
      preset :best
    end
  end

  let(:yielded) do
    build(data: Pathname("photos/"), backbone: "mobilenet_v2") do |recipe|
      recipe.weights "IMAGENET1K_V1"
      recipe.task "classification"
      recipe.columns input: "file", target: %i[a b]
      recipe.split test: 0.2, valid: 0.1
      recipe.on_bad_input :skip
      recipe.augment :flip
      recipe.augment :crop, rotate: { degrees: 10 }
      recipe.head :mlp, hidden: [64, 32], dropout: 0.2
      recipe.freeze :backbone
      recipe.unfreeze last: 3
      recipe.seed 7
      recipe.device "cpu"
      recipe.precision :float32
      recipe.processes 2
      recipe.preset :best
    end
  end

  class SignModel < described_class # rubocop:disable Lint/ConstantDefinitionInBlock
    data "photos/"
    backbone "mobilenet_v2"
    weights "IMAGENET1K_V1"
    task :classification
    columns input: :file, target: %w[a b]
    split test: 0.2, valid: 0.1
    on_bad_input :skip
    augment :flip, :crop, rotate: { degrees: 10 }
    head :mlp, hidden: [64, 32], dropout: 0.2
    steps do
      freeze :backbone
      unfreeze last: 3
    end
    seed 7
    device :cpu
    precision :float32
    processes 2
    preset :best
  end

  it "means the same in keywords, in a block, in a block with an argument and in a class body" do
    expect([keywords, block, yielded].map(&:to_h)).to all(eq(words))
    expect(SignModel.to_h).to eq(words)
    expect(keywords).to eq(block)
    expect([keywords, block].map(&:hash).uniq.size).to eq(1)
  end

  it "sends only what was said" do
    expect(build(data: "p", backbone: "b").to_h).to eq({ data: "p", backbone: "b" })
    expect(build.to_h).to eq({})
  end

  it "is frozen through and through" do
    frozen = ->(v) { v.frozen? && (v.respond_to?(:each) ? v.to_a.flatten.all?(&frozen) : true) }
    expect(frozen.call(block.to_h)).to be(true)
    expect { block.to_h[:steps][0][:type] << "x" }.to raise_error(FrozenError)
  end

  it "does not freeze what the user passed in" do
    name = +"mobilenet_v2"
    build(backbone: name)
    expect(name).not_to be_frozen
  end

  it "keeps the order of the steps" do
    recipe = build do
      freeze first: 10
      train epochs: 5, optimizer: :adam, learning_rate: 1e-3, class_weights: { cat: 2 }
      unfreeze :all
      unfreeze "features.17", "features.18"
      freeze blocks: ["features.0"]
      train
    end
    expect(recipe.to_h[:steps]).to eq(
      [
        { type: "freeze", first: 10 },
        { type: "train", epochs: 5, optimizer: "adam", learning_rate: 1e-3,
          class_weights: { "cat" => 2 } },
        { type: "unfreeze", all: true },
        { type: "unfreeze", blocks: ["features.17", "features.18"] },
        { type: "freeze", blocks: ["features.0"] },
        { type: "train" }
      ]
    )
  end

  it "takes any other keyword for a training word" do
    recipe = build(backbone: "b", epochs: 5, optimizer: :sgd, momentum: 0.9, seed: 3)
    expect(recipe.to_h).to eq(
      { backbone: "b", train: { epochs: 5, optimizer: "sgd", momentum: 0.9 }, seed: 3 }
    )
    expect(build(train: { epochs: 5 }).to_h).to eq(build(epochs: 5).to_h)
  end

  it "reads what it wrote, and the steps of a saved recipe" do
    saved = words.merge(version: 1, steps: [{ type: "train", epochs: 1 }])
    expect(build(**saved).to_h).to eq(saved)
  end

  it "takes steps in a block of their own, too" do
    recipe = build do
      steps do
        freeze :backbone
        train epochs: 5
      end
    end
    expect(recipe).to eq(build { freeze :backbone; train epochs: 5 }) # rubocop:disable Style/Semicolon
  end

  it "is inspected by its main words" do
    recipe = build(data: "photos/", backbone: "b", seed: 1) { unfreeze last: 3 }
    expect(recipe.inspect).to eq('#<Transfer::Recipe backbone: "b", data: "photos/", steps: unfreeze>')
    expect(build.inspect).to eq("#<Transfer::Recipe>")
  end

  it "reads short forms" do
    expect(build(augment: :flip).to_h).to eq({ augment: ["flip"] })
    expect(build(head: :linear).to_h).to eq({ head: { type: "linear" } })
    expect(build { augment crop: true }.to_h).to eq({ augment: ["crop"] })
  end

  it "describes data without touching it" do
    rows = Enumerator.new { raise "touched" }
    expect(build(data: { train: "a", valid: Pathname("b"), test: rows }).to_h[:data])
      .to eq({ train: "a", valid: "b", test: { stream: "rows" } })
  end

  it "keeps the block that gives the group of a row, and calls its values group" do
    rows = [{ input: "a", label: "b" }]
    built = build(data: rows) { split(test: 0.1) { |row| row[:input] } }
    expect(built.to_h[:split]).to eq({ test: 0.1, group: "group" })
    expect(built.group.call(rows.first)).to eq("a")
    expect(build(data: rows, split: { group: :place }).group).to be_nil
    expect(build(data: rows, split: { "group" => ->(_) { 5 } }).group.call(nil)).to eq(5)
    parent = Class.new(described_class) { split { |row| row[:label] } }
    expect(Class.new(parent).build({ data: rows }).group.call(rows.first)).to eq("b")
  end

  it "leaves wrong values to the core" do
    expect(build(data: 5, seed: "x", split: 0.2).to_h).to eq({ data: 5, seed: "x", split: 0.2 })
    lists = { seed: [], backbone: %w[a b], columns: %w[x y], text: [1, 2], split: [0.1, 0.2] }
    expect(build(**lists).to_h).to eq(lists)
    expect(build(head: { 5 => 6 }, split: { 1 => 2 }, augment: { 5 => true }).to_h)
      .to eq({ head: { "5": 6 }, split: { "1": 2 }, augment: [5] })
  end

  it "keeps the local variables of a block, and its `self` if it has an argument", signatures: false do
    helper = ->(n) { n * 2 }
    expect(build { seed helper.call(4) }.to_h).to eq({ seed: 8 })
    expect(build { |r| r.seed double(4) }.to_h).to eq({ seed: 8 })
  end

  def double(number) = number * 2

  describe "a class" do
    it "inherits, and replaces lists instead of adding to them" do
      child = Class.new(SignModel) do
        seed 8
        augment :color
        steps do
          train epochs: 1
          train epochs: 2
        end
      end
      expect(child.to_h).to eq(
        words.merge(seed: 8, augment: ["color"],
                    steps: [{ type: "train", epochs: 1 }, { type: "train", epochs: 2 }])
      )
      expect(SignModel.to_h).to eq(words)
    end

    it "takes what differs from keywords and from a block" do
      recipe = SignModel.build({ seed: 1 }) { head :linear }
      expect(recipe.to_h).to eq(words.merge(seed: 1, head: { type: "linear" }))
    end

    it "takes steps from a block with an argument and from a macro, and trains by them", signatures: false do
      macro = Module.new { def two_steps = steps { |step| 2.times { |i| step.train(epochs: i + 1) } } }
      stub_const("MacroModel", Class.new(described_class) { extend(macro).two_steps })
      expect(MacroModel.to_h[:steps]).to eq([{ type: "train", epochs: 1 }, { type: "train", epochs: 2 }])
      backend("core")
      expect(MacroModel.train(data: "photos/", backbone: "b").recipe[:steps].size).to eq(2)
      expect(MacroModel.train_async(data: "photos/", backbone: "b").value).to be_a(Transfer::Model)
    end

    it "trains in the initializer of another class" do
      backend("core")
      nameless = Class.new(described_class) do
        backbone "b"
        data "photos/"
      end
      service = Struct.new(:model) { define_method(:initialize) { super(nameless.train) } }
      expect(service.new.model).to be_a(Transfer::Model)
      expect(nameless.to_h).not_to have_key(:steps)
    end

    it "can be frozen" do
      expect(Class.new(SignModel).freeze).to be_frozen
    end

    it "can be stubbed like any other" do
      allow(SignModel).to receive(:train).with(data: "x").and_return(:model)
      expect(SignModel.train(data: "x")).to eq(:model)
    end
  end

  it "sends the absolute paths of backbones and weights" do
    Dir.mktmpdir do |folder|
      Dir.chdir(folder) do
        Dir.mkdir("hub")
        %w[a.onnx w.pth resnet18].each { |name| File.write(name, "") }
        wire = ->(**words) { described_class.build({ data: "d", **words }).wire }
        here = File.realpath(folder)
        expect(wire.call(backbone: "a.onnx", weights: "w.pth")).to include(
          "backbone" => "#{here}/a.onnx", "weights" => "#{here}/w.pth"
        )
        expect(wire.call(backbone: "onnx:./a.onnx")).to include("backbone" => "onnx:#{here}/a.onnx")
        expect(wire.call(backbone: "torchhub:./hub:colors")).to include("backbone" => "torchhub:#{here}/hub:colors")
        expect(wire.call(backbone: "tensorflow:hub")).to include("backbone" => "tensorflow:#{here}/hub")
        expect(wire.call(backbone: "resnet18")).to include("backbone" => "resnet18")
        expect(wire.call(backbone: "timm/resnet18", weights: :random)).to include(
          "backbone" => "timm/resnet18", "weights" => "random"
        )
      end
    end
  end
end
