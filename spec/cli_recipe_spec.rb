# frozen_string_literal: true

RSpec.describe "The recipe of transfer train" do
  let(:root) { Transfer::CLI.const_get(:Root) }

  # The recipe of `transfer train photos ...`.
  def recipe(*argv)
    command = root.new([], argv, command_options: root.commands["train"].options)
    Transfer::Recipe.build(command.send(:recipe, "photos")).to_h
  end

  def built(**words, &)
    Transfer::Recipe.build({ backbone: "mobilenet_v2", data: "photos", **words }, &).to_h
  end

  it "takes MobileNetV2 if no backbone is named" do
    expect(recipe).to eq(built)
  end

  it "is the one that Ruby builds from the same words" do
    expect(recipe("--backbone", "mobilenet_v2")).to eq(built)
    expect(recipe("--backbone", "mobilenet_v2", "--epochs", "5", "--optimizer", "adam", "--learning-rate", "1e-3",
                  "--seed", "7", "--device", "cpu", "--preset", "best")).to eq(
                    built(epochs: 5, optimizer: :adam, learning_rate: 1e-3, seed: 7, device: :cpu, preset: :best)
                  )
  end

  it "reads numbers as people do, zeros in front or not" do
    expect(recipe("--epochs", "010")).to eq(built(epochs: 10))
    expect(recipe("--epochs", "0x10", "--learning-rate", "1e-3")).to eq(built(epochs: "0x10", learning_rate: 1e-3))
  end

  it "has a source domain and a kind of transfer" do
    words = { source: "studio/", unlabelled: "2024", adapt: :coral, weigh: :kmm }
    expect(recipe(*words.flat_map { |name, value| ["--#{name}", value.to_s] })).to eq(built(**words))
  end

  it "has steps if the backbone is fine-tuned" do
    expect(recipe("--backbone", "mobilenet_v2", "--epochs", "5", "--unfreeze-last", "3", "--fine-tune-epochs", "2",
                  "--fine-tune-optimizer", "sgd", "--fine-tune-learning-rate", "1e-4", "--processes", "2")).to eq(
                    built do
                      processes 2
                      freeze :backbone
                      train epochs: 5
                      unfreeze last: 3
                      train epochs: 2, optimizer: :sgd, learning_rate: 1e-4
                    end
                  )
    expect(recipe("--backbone", "mobilenet_v2", "--unfreeze-all")["steps"]).to eq(
      built { freeze(:backbone) && train && unfreeze(:all) && train }["steps"]
    )
  end

  it "has head, augmentation, columns and splits" do
    expect(recipe("--backbone", "mobilenet_v2", "--hidden", "256,128", "--dropout", "0.3", "--augment", "flip,crop",
                  "--input-column", "file", "--target-column", "x,y", "--split-column", "part", "--test", "b.csv",
                  "--valid-size", "0.1")).to eq(
                    built(data: { train: "photos", test: "b.csv" }, split: { valid: 0.1 }) do
                      head :mlp, hidden: [256, 128], dropout: 0.3
                      augment :flip, :crop
                      columns input: "file", target: %w[x y], split: "part"
                    end
                  )
  end

  it "leaves it to the core to judge values" do
    expect(recipe("--backbone", "mobilenet_v2", "--epochs", "many")).to eq(built(epochs: "many"))
  end
end
